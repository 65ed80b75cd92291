package target

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Elsewhere returns the documents of the given ids that are behind the alias in
// another index than own. One request answers for all of them, and reads a
// stored document only for what it finds. Indices that were not refreshed show
// nothing.
func (t *Target) Elsewhere(ctx context.Context, own string, ids []string) (copies []Copy, err error) {
	err = t.find(ctx, t.config.Backend.Alias, map[string]any{"bool": map[string]any{
		"filter":   ofIDs(ids),
		"must_not": map[string]any{"term": map[string]any{"_index": own}},
	}}, collect(&copies))
	return copies, err
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
		return t.find(ctx, index, inRange, visit)
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

// Moment is what an index has in a minute.
type Moment struct {
	Count int64
	Sum   float64 // of the timestamps, milliseconds since 1970; exact up to some 5,000 documents, almost exact beyond
}

// Moments counts the documents of an index and sums their timestamps by the
// minute, keyed by its first millisecond, within [from, to) milliseconds since
// 1970.
func (t *Target) Moments(ctx context.Context, index string, from, to int64) (map[int64]Moment, error) {
	query := map[string]any{
		"size": 0, "query": timeRange(from, to),
		"aggs": map[string]any{"minutes": map[string]any{
			"date_histogram": map[string]any{"field": "timestamp", "fixed_interval": "1m", "min_doc_count": 1},
			"aggs":           map[string]any{"moments": map[string]any{"sum": map[string]any{"field": "timestamp"}}},
		}},
	}
	var answer struct {
		Aggregations struct {
			Minutes struct {
				Buckets []struct {
					Key     int64 `json:"key"` // the minute's first millisecond
					Count   int64 `json:"doc_count"`
					Moments struct {
						Value float64 `json:"value"`
					} `json:"moments"`
				} `json:"buckets"`
			} `json:"minutes"`
		} `json:"aggregations"`
	}
	if err := t.search(ctx, index, query, &answer); err != nil {
		return nil, fmt.Errorf("count minutes of %s: %w", index, err)
	}
	moments := make(map[int64]Moment)
	for _, b := range answer.Aggregations.Minutes.Buckets {
		moments[b.Key] = Moment{b.Count, b.Moments.Value}
	}
	return moments, nil
}

// Held returns which of the ids an index has, whether or not it was refreshed.
// The timestamps of these copies are not known.
func (t *Target) Held(ctx context.Context, index string, ids []string) ([]Copy, error) {
	docs := make([]map[string]any, len(ids))
	for i, id := range ids {
		docs[i] = map[string]any{"_id": id, "stored_fields": []string{}}
	}
	var patience backoff
	for {
		held, again, err := t.held(ctx, index, docs)
		if err == nil && again != nil {
			err = t.pause(ctx, &patience, again)
		}
		if err != nil {
			return nil, fmt.Errorf("look up %d ids in index %s: %w", len(ids), index, err)
		}
		if again == nil {
			return held, nil
		}
	}
}

// held is Held once; again is why it has to be asked again.
func (t *Target) held(ctx context.Context, index string, docs []map[string]any) (held []Copy, again, err error) {
	var answer struct {
		Docs []struct {
			hit
			Found bool   `json:"found"`
			Error *Error `json:"error"`
		} `json:"docs"`
	}
	path := "/" + url.PathEscape(index) + "/_mget?preference=_primary"
	if err := t.ask(ctx, http.MethodPost, path, map[string]any{"docs": docs}, &answer); err != nil {
		return nil, nil, err
	}
	if len(answer.Docs) != len(docs) {
		return nil, nil, fmt.Errorf("the answer has %d documents", len(answer.Docs))
	}
	for _, doc := range answer.Docs {
		if doc.Error != nil && doc.Error.Type == typeIndexMissing {
			return nil, nil, &Error{Op: "look up", Status: http.StatusNotFound, Type: doc.Error.Type}
		}
		if doc.Error != nil {
			again = fmt.Errorf("%w: %s: %s", ErrIncomplete, doc.Error.Type, withoutPayload(doc.Error.Reason))
		}
		if doc.Found {
			held = append(held, Copy{Index: index, ID: doc.ID, Version: doc.Version, seqNo: doc.SeqNo, primaryTerm: doc.PrimaryTerm})
		}
	}
	return held, again, nil
}

// Drop deletes an index.
func (t *Target) Drop(ctx context.Context, name string) error {
	if err := t.ask(ctx, http.MethodDelete, "/"+url.PathEscape(name), nil, nil); err != nil {
		return fmt.Errorf("delete index %s: %w", name, err)
	}
	return nil
}

// Prefixed reports whether the backend's cleanup passes over the daily indices:
// it reads the date from the second to fourth part of a name.
func (b Backend) Prefixed() bool {
	before, _, _ := strings.Cut(b.Index, datePlaceholder)
	return strings.Count(before, "-") != 1 || !strings.HasSuffix(before, "-")
}
