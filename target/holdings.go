package target

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Holding is an index with what it holds.
type Holding struct {
	Index
	Docs   int64
	Bytes  int64  // on disk, of the primary shards
	Health string // green, yellow, red
}

// Holdings lists the indices behind the alias, by name. Their documents are
// those that a search sees, counted at one moment.
func (t *Target) Holdings(ctx context.Context) ([]Holding, error) {
	indices, err := t.behindAlias(ctx)
	if err != nil || len(indices) == 0 {
		return nil, err
	}
	docs, err := t.countByIndex(ctx)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]Holding)
	if err := t.measure(ctx, t.backend.Alias, sizes); err != nil {
		return nil, err
	}
	holdings := make([]Holding, len(indices))
	for i, index := range indices {
		holdings[i] = Holding{Index: index, Docs: docs[index.Name], Bytes: sizes[index.Name].Bytes, Health: sizes[index.Name].Health}
	}
	return holdings, nil
}

// AllHoldings lists the indices that are behind the alias or named like daily
// ones, closed ones too, by name. Their documents are those that the cluster's
// statistics have. An alias that is an index is the error of CheckContract.
func (t *Target) AllHoldings(ctx context.Context) ([]Holding, error) {
	behind, err := t.behindAlias(ctx)
	if err != nil {
		return nil, err
	}
	like, err := t.get(ctx, t.backend.AnyDaily())
	if err != nil && !IsGone(err) {
		return nil, err
	}
	like = slices.DeleteFunc(like, func(i Index) bool { return !i.Daily })
	found, sizes := make(map[string]Holding), make(map[string]Holding)
	for _, index := range slices.Concat(like, behind) {
		found[index.Name] = Holding{Index: index}
	}
	if len(found) == 0 {
		return nil, nil
	}
	for _, expression := range []string{t.backend.Alias, t.backend.AnyDaily()} {
		if err := t.measure(ctx, expression, sizes); err != nil && !IsGone(err) {
			return nil, err
		}
	}
	holdings := make([]Holding, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		h := sizes[name]
		h.Index = found[name].Index
		holdings = append(holdings, h)
	}
	return holdings, nil
}

// measure adds what the cluster's statistics say of the indices that an
// expression leads to. A closed index has no numbers.
func (t *Target) measure(ctx context.Context, expression string, into map[string]Holding) error {
	var rows []struct {
		Index  string `json:"index"`
		Health string `json:"health"`
		Docs   string `json:"docs.count"`
		Bytes  string `json:"pri.store.size"`
	}
	path := "/_cat/indices/" + url.PathEscape(expression) + "?format=json&bytes=b&h=index,health,docs.count,pri.store.size"
	if err := t.Ask(ctx, http.MethodGet, path, nil, &rows); err != nil {
		return fmt.Errorf("measure the indices of %s: %w", expression, err)
	}
	for _, row := range rows {
		h := Holding{Health: row.Health}
		h.Docs, _ = strconv.ParseInt(row.Docs, 10, 64)
		h.Bytes, _ = strconv.ParseInt(row.Bytes, 10, 64)
		into[row.Index] = h
	}
	return nil
}

// maxIndices is how many indices are told apart: more than a cluster's nodes
// would hold shards of.
const maxIndices = 20_000

func (t *Target) countByIndex(ctx context.Context) (map[string]int64, error) {
	query := map[string]any{"size": 0, "aggs": map[string]any{
		"indices": map[string]any{"terms": map[string]any{"field": "_index", "size": maxIndices}},
	}}
	var answer struct {
		Aggregations struct {
			Indices struct {
				Other   int64 `json:"sum_other_doc_count"`
				Buckets []struct {
					Key   string
					Count int64 `json:"doc_count"`
				}
			}
		}
	}
	if err := t.Search(ctx, t.backend.Alias, query, &answer); err != nil {
		return nil, fmt.Errorf("count documents of each index behind %s: %w", t.backend.Alias, err)
	}
	found := answer.Aggregations.Indices
	if found.Other > 0 {
		return nil, fmt.Errorf("count documents of each index behind %s: %d documents were not told apart", t.backend.Alias, found.Other)
	}
	counts := make(map[string]int64)
	for _, b := range found.Buckets {
		counts[b.Key] = b.Count
	}
	return counts, nil
}
