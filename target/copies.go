package target

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// documents are what is behind the alias, and what is asked and told of them by id.
type documents struct {
	*cluster.Cluster
	alias string
}

// Copy is a document of an id, as a search sees it.
type Copy struct {
	Index   string
	ID      string
	Version int64
	Millis  int64 // the document's timestamp: milliseconds since 1970, as OpenSearch keeps it

	seqNo       int64
	primaryTerm int64
}

// maxLookup is how many documents one search returns at most: the server's
// default of index.max_result_window.
const maxLookup = 10_000

// Copies returns the documents that a search in the index or alias finds for
// the given ids. It does not see what was written since the last refresh.
func (d *documents) Copies(ctx context.Context, index string, ids []string) ([]Copy, error) {
	return d.all(ctx, index, cluster.OfIDs(ids))
}

// all is find for what the caller bounds.
func (d *documents) all(ctx context.Context, index string, query map[string]any) (copies []Copy, err error) {
	err = d.find(ctx, index, query, func(page []Copy) error {
		copies = append(copies, page...)
		return nil
	})
	return copies, err
}

// find hands over all documents that match, at most maxLookup at a time. Pages
// follow each other by sequence number, which only grows when a document is
// written again: it may then come twice, but none is passed over.
func (d *documents) find(ctx context.Context, index string, query map[string]any, visit func([]Copy) error) error {
	page, whole, err := d.page(ctx, index, map[string]any{"query": query})
	for from := int64(0); err == nil && !whole; {
		if page, whole, err = d.page(ctx, index, map[string]any{
			"sort": []any{map[string]string{"_seq_no": "asc"}},
			"query": map[string]any{"bool": map[string]any{"filter": []any{
				query, map[string]any{"range": map[string]any{"_seq_no": map[string]any{"gte": from}}},
			}}},
		}); err != nil || whole {
			break
		}
		// Shards count alike, so the last number may have more documents.
		last := page[len(page)-1].seqNo
		page = slices.DeleteFunc(page, func(c Copy) bool { return c.seqNo == last })
		if len(page) == 0 {
			return fmt.Errorf("look up documents of %s: more than %d have the sequence number %d", index, maxLookup, last)
		}
		if err := visit(page); err != nil {
			return err
		}
		from = last
	}
	if err != nil {
		return fmt.Errorf("look up documents of %s: %w", index, err)
	}
	return visit(page)
}

// page returns the first documents that a request is about, and whether these are all.
func (d *documents) page(ctx context.Context, index string, request map[string]any) (copies []Copy, whole bool, err error) {
	maps.Copy(request, map[string]any{
		"size": maxLookup, "track_total_hits": true, "_source": false, "version": true, "seq_no_primary_term": true,
		"docvalue_fields": cluster.MillisField(),
	})
	var found cluster.Hits[hit]
	if err := d.Search(ctx, index, request, &found); err != nil {
		return nil, false, err
	}
	if n := len(found.Hits.Hits); !found.Whole() && n < maxLookup {
		return nil, false, fmt.Errorf("%d of %d came", n, found.Total())
	}
	copies = make([]Copy, 0, len(found.Hits.Hits))
	for _, h := range found.Hits.Hits {
		c, err := h.copy()
		if err != nil {
			return nil, false, err
		}
		copies = append(copies, c)
	}
	return copies, found.Whole(), nil
}

// hit is a search's answer for one document.
type hit struct {
	Index       string `json:"_index"`
	ID          string `json:"_id"`
	Version     int64  `json:"_version"`
	SeqNo       int64  `json:"_seq_no"`
	PrimaryTerm int64  `json:"_primary_term"`
	Fields      struct{ Timestamp cluster.Millis }
}

func (h hit) copy() (Copy, error) {
	c := Copy{Index: h.Index, ID: h.ID, Version: h.Version, seqNo: h.SeqNo, primaryTerm: h.PrimaryTerm}
	if len(h.Fields.Timestamp) != 1 {
		return c, fmt.Errorf("document %q in %s has %d timestamps", h.ID, h.Index, len(h.Fields.Timestamp))
	}
	var err error
	c.Millis, err = h.Fields.Timestamp.Value()
	return c, err
}

// Elsewhere returns the documents of the given ids that are behind the alias in
// another index than own. One request answers for all of them, and reads a
// stored document only for what it finds. Indices that were not refreshed show
// nothing.
func (d *documents) Elsewhere(ctx context.Context, own string, ids []string) ([]Copy, error) {
	return d.all(ctx, d.alias, map[string]any{"bool": map[string]any{
		"filter":   cluster.OfIDs(ids),
		"must_not": map[string]any{"term": map[string]any{"_index": own}},
	}})
}

// Between hands over the documents of an index or alias whose timestamp lies in
// [from, to), milliseconds since 1970, in portions of at most maxLookup.
func (d *documents) Between(ctx context.Context, index string, from, to int64, visit func([]Copy) error) error {
	inRange := cluster.InTime(from, to)
	n, err := d.Count(ctx, index, inRange)
	if err != nil || n == 0 {
		return err
	}
	if n <= maxLookup || to-from <= 1 {
		return d.find(ctx, index, inRange, visit)
	}
	middle := from + (to-from)/2
	if err := d.Between(ctx, index, from, middle, visit); err != nil {
		return err
	}
	return d.Between(ctx, index, middle, to, visit)
}

// Moment is what an index has in a minute.
type Moment struct {
	Count int64
	Sum   float64 // of the timestamps, milliseconds since 1970; exact up to some 5,000 documents, almost exact beyond
}

// Moments counts the documents of an index and sums their timestamps by the
// minute, keyed by its first millisecond, within [from, to) milliseconds since
// 1970.
func (d *documents) Moments(ctx context.Context, index string, from, to int64) (map[int64]Moment, error) {
	query := map[string]any{
		"size": 0, "query": cluster.InTime(from, to),
		"aggs": map[string]any{"minutes": map[string]any{
			"date_histogram": map[string]any{"field": "timestamp", "fixed_interval": "1m", "min_doc_count": 1},
			"aggs":           map[string]any{"moments": map[string]any{"sum": map[string]any{"field": "timestamp"}}},
		}},
	}
	var answer struct {
		Aggregations struct {
			Minutes struct {
				Buckets []struct {
					Key     int64 // the minute's first millisecond
					Count   int64 `json:"doc_count"`
					Moments struct{ Value float64 }
				}
			}
		}
	}
	if err := d.Search(ctx, index, query, &answer); err != nil {
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
func (d *documents) Held(ctx context.Context, index string, ids []string) (held []Copy, err error) {
	docs := make([]map[string]any, len(ids))
	for i, id := range ids {
		docs[i] = map[string]any{"_id": id, "stored_fields": []string{}}
	}
	err = d.Retry(ctx, func(*cluster.Waits) (cause, err error) {
		held, cause, err = d.held(ctx, index, docs)
		return cause, err
	})
	if err != nil {
		return nil, fmt.Errorf("look up %d ids in index %s: %w", len(ids), index, err)
	}
	return held, nil
}

// held is Held once; cause is why it has to be asked again.
func (d *documents) held(ctx context.Context, index string, docs []map[string]any) (held []Copy, cause, err error) {
	var answer struct {
		Docs []struct {
			hit
			Found bool           `json:"found"`
			Error *cluster.Error `json:"error"`
		} `json:"docs"`
	}
	path := "/" + url.PathEscape(index) + "/_mget?preference=_primary"
	if err := d.Ask(ctx, http.MethodPost, path, map[string]any{"docs": docs}, &answer); err != nil {
		return nil, nil, err
	}
	if len(answer.Docs) != len(docs) {
		return nil, nil, fmt.Errorf("the answer has %d documents", len(answer.Docs))
	}
	for _, doc := range answer.Docs {
		if e := doc.Error; e != nil && e.Type == cluster.IndexMissing {
			return nil, nil, &cluster.Error{Op: "look up", Status: http.StatusNotFound, Type: e.Type}
		}
		if e := doc.Error; e != nil {
			cause = fmt.Errorf("%w: %s: %s", cluster.ErrIncomplete, e.Type, cluster.WithoutPayload(e.Reason))
		}
		if doc.Found {
			held = append(held, Copy{Index: index, ID: doc.ID, Version: doc.Version, seqNo: doc.SeqNo, primaryTerm: doc.PrimaryTerm})
		}
	}
	return held, cause, nil
}
