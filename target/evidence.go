package target

import (
	"context"
	"fmt"
)

// Seen counts through the alias, as Sentry asks, how many documents of the given
// ids the index own has, and how many all the indices behind the alias have
// together. Without the alias both are 0.
func (t *Target) Seen(ctx context.Context, own string, ids []string) (inOwn, behind int64, err error) {
	query := map[string]any{
		"size": 0, "track_total_hits": true, "query": map[string]any{"ids": map[string]any{"values": ids}},
		"aggs": map[string]any{"own": map[string]any{"filter": map[string]any{"term": map[string]any{"_index": own}}}},
	}
	var answer struct {
		Hits struct {
			Total struct {
				Value int64 `json:"value"`
			} `json:"total"`
		} `json:"hits"`
		Aggregations struct {
			Own struct {
				Count int64 `json:"doc_count"`
			} `json:"own"`
		} `json:"aggregations"`
	}
	err = t.search(ctx, t.config.Backend.Alias, query, &answer)
	if IsGone(err) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count %d ids through alias %s: %w", len(ids), t.config.Backend.Alias, err)
	}
	return answer.Aggregations.Own.Count, answer.Hits.Total.Value, nil
}
