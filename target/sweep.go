package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opensearch-project/opensearch-go/v4/opensearchapi"
)

// Elsewhere returns the documents of the given ids that are behind the alias in
// another index than own. One request answers for all of them, and reads a
// stored document only for what it finds. Indices that were not refreshed show
// nothing.
func (t *Target) Elsewhere(ctx context.Context, own string, ids []string) ([]Copy, error) {
	return t.find(ctx, t.config.Backend.Alias, map[string]any{"bool": map[string]any{
		"filter":   map[string]any{"ids": map[string]any{"values": ids}},
		"must_not": map[string]any{"term": map[string]any{"_index": own}},
	}})
}

// Between hands over the documents of an index or alias whose timestamp lies in
// [from, to), milliseconds since 1970, in portions of at most maxLookup.
func (t *Target) Between(ctx context.Context, index string, from, to int64, visit func([]Copy) error) error {
	inRange := timeRange(from, to)
	n, err := t.count(ctx, index, inRange)
	if err != nil || n == 0 {
		return err
	}
	if n <= maxLookup || to-from <= 1 {
		found, err := t.find(ctx, index, inRange)
		if err != nil {
			return err
		}
		return visit(found)
	}
	middle := from + (to-from)/2
	if err := t.Between(ctx, index, from, middle, visit); err != nil {
		return err
	}
	return t.Between(ctx, index, middle, to, visit)
}

func timeRange(from, to int64) map[string]any {
	return map[string]any{"range": map[string]any{"timestamp": map[string]any{"gte": from, "lt": to, "format": "epoch_millis"}}}
}

// CountBetween counts the documents of an index whose timestamp lies in
// [from, to), milliseconds since 1970.
func (t *Target) CountBetween(ctx context.Context, index string, from, to int64) (int64, error) {
	return t.count(ctx, index, timeRange(from, to))
}

// Minutes counts the documents of an index by the minute of their timestamp,
// keyed by its first millisecond, within [from, to) milliseconds since 1970.
func (t *Target) Minutes(ctx context.Context, index string, from, to int64) (map[int64]int64, error) {
	buckets, err := t.byMinute(ctx, "count minutes of "+index, index, from, to, map[string]any{})
	counts := make(map[int64]int64, len(buckets))
	for _, b := range buckets {
		counts[b.Key] = b.Count
	}
	return counts, err
}

// Moments sums the timestamps, in milliseconds since 1970, of the documents of an
// index by the minute, keyed by its first millisecond, within [from, to)
// milliseconds since 1970. A sum is exact up to some 5,000 documents a minute,
// and almost exact beyond.
func (t *Target) Moments(ctx context.Context, index string, from, to int64) (map[int64]float64, error) {
	sums := map[string]any{"moments": map[string]any{"sum": map[string]any{"field": "timestamp"}}}
	buckets, err := t.byMinute(ctx, "sum timestamps of "+index, index, from, to, sums)
	moments := make(map[int64]float64, len(buckets))
	for _, b := range buckets {
		moments[b.Key] = b.Moments.Value
	}
	return moments, err
}

// minuteBucket is what an index has in a minute.
type minuteBucket struct {
	Key     int64 `json:"key"` // its first millisecond
	Count   int64 `json:"doc_count"`
	Moments struct {
		Value float64 `json:"value"`
	} `json:"moments"`
}

// byMinute aggregates the documents of an index by the minute.
func (t *Target) byMinute(ctx context.Context, what, index string, from, to int64, each map[string]any) ([]minuteBucket, error) {
	query := map[string]any{
		"size": 0, "query": timeRange(from, to),
		"aggs": map[string]any{"minutes": map[string]any{
			"date_histogram": map[string]any{"field": "timestamp", "fixed_interval": "1m", "min_doc_count": 1},
			"aggs":           each,
		}},
	}
	var answer struct {
		Aggregations struct {
			Minutes struct {
				Buckets []minuteBucket `json:"buckets"`
			} `json:"minutes"`
		} `json:"aggregations"`
	}
	if err := t.search(ctx, index, query, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return answer.Aggregations.Minutes.Buckets, nil
}

// Held returns which of the ids an index has, whether or not it was refreshed.
// The timestamps of these copies are not known.
func (t *Target) Held(ctx context.Context, index string, ids []string) ([]Copy, error) {
	docs := make([]map[string]any, len(ids))
	for i, id := range ids {
		docs[i] = map[string]any{"_id": id, "stored_fields": []string{}}
	}
	var answer struct {
		Docs []struct {
			hit
			Found bool            `json:"found"`
			Error json.RawMessage `json:"error"`
		} `json:"docs"`
	}
	if err := t.ask(ctx, http.MethodPost, "/"+url.PathEscape(index)+"/_mget", map[string]any{"docs": docs}, &answer); err != nil {
		return nil, fmt.Errorf("look up %d ids: %w", len(ids), err)
	}
	var held []Copy
	for _, doc := range answer.Docs {
		if doc.Error != nil {
			return nil, refusal("look up id in "+index, http.StatusNotFound, []byte(`{"error":`+string(doc.Error)+`}`))
		}
		if doc.Found {
			held = append(held, Copy{Index: index, ID: doc.ID, Version: doc.Version, seqNo: doc.SeqNo, primaryTerm: doc.PrimaryTerm})
		}
	}
	return held, nil
}

// Remove deletes the given copies, each only if it is still the document that
// was looked at, and returns those that it deleted. Searches see it after the
// next refresh.
func (t *Target) Remove(ctx context.Context, copies []Copy) (removed []Copy, err error) {
	if len(copies) == 0 {
		return nil, nil
	}
	var body []byte
	for _, c := range copies {
		body = append(body, `{"delete":{"_index":`...)
		body = appendString(body, []byte(c.Index))
		body = append(body, `,"_id":`...)
		body = appendString(body, []byte(c.ID))
		body = fmt.Appendf(body, `,"if_seq_no":%d,"if_primary_term":%d}}`+"\n", c.seqNo, c.primaryTerm)
	}
	done, err := t.conditional(ctx, "/_bulk", body, len(copies))
	if err != nil {
		return nil, fmt.Errorf("remove %d copies: %w", len(copies), err)
	}
	for i, c := range copies {
		if done[i] {
			removed = append(removed, c)
		}
	}
	return removed, nil
}

// Drop deletes an index.
func (t *Target) Drop(ctx context.Context, name string) error {
	_, err := t.api.Indices.Delete(ctx, opensearchapi.IndicesDeleteReq{Indices: []string{name}})
	return classify("delete index "+name, err)
}

// Prefixed reports whether the backend's cleanup passes over the daily indices:
// it reads the date from the second to fourth part of a name.
func (b Backend) Prefixed() bool {
	before, _, _ := strings.Cut(b.Index, datePlaceholder)
	return strings.Count(before, "-") != 1 || !strings.HasSuffix(before, "-")
}
