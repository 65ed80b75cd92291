// Package evidence asks what only a verification wants to know: what Sentry would
// find of many ids, the stored payloads, and whether an index was changed.
package evidence

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Seen counts through the alias, as Sentry asks, how many documents of the given
// ids the index own has, and how many all the indices behind the alias have
// together. Without the alias both are 0.
func Seen(ctx context.Context, t *target.Target, own string, ids []string) (inOwn, behind int64, err error) {
	query := map[string]any{
		"size": 0, "track_total_hits": true, "query": cluster.OfIDs(ids),
		"aggs": map[string]any{"own": map[string]any{"filter": map[string]any{"term": map[string]any{"_index": own}}}},
	}
	var answer struct {
		cluster.Hits[struct{}]
		Aggregations struct {
			Own struct {
				Count int64 `json:"doc_count"`
			}
		}
	}
	err = t.Search(ctx, t.Backend().Alias, query, &answer)
	if cluster.IsMissing(err) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count %d ids through alias %s: %w", len(ids), t.Backend().Alias, err)
	}
	return answer.Aggregations.Own.Count, answer.Hits.Hits.Total.Value, nil
}

// Fingerprint tells whether an index was changed: any write raises MaxSeqNo. A
// shard that is missing makes it differ as well.
type Fingerprint struct {
	UUID     string `json:"uuid"`
	Docs     int64  `json:"docs"`
	MaxSeqNo int64  `json:"max_seq_no"` // summed over the primary shards
}

// Fingerprints reads the fingerprints of all indices behind the alias, by name.
func Fingerprints(ctx context.Context, t *target.Target) (map[string]Fingerprint, error) {
	type shard struct {
		Routing struct{ Primary bool }
		Docs    struct{ Count int64 }
		SeqNo   struct {
			Max int64 `json:"max_seq_no"`
		} `json:"seq_no"`
	}
	var answer struct {
		Shards  cluster.Shards `json:"_shards"`
		Indices map[string]struct {
			UUID   string
			Shards map[string][]shard
		}
	}
	alias := t.Backend().Alias
	err := t.Ask(ctx, http.MethodGet, "/"+url.PathEscape(alias)+"/_stats/docs?level=shards", nil, &answer)
	if cluster.IsMissing(err) {
		return nil, nil
	}
	if err == nil && answer.Shards.Failed > 0 {
		err = fmt.Errorf("%w: %d shards failed", cluster.ErrIncomplete, answer.Shards.Failed)
	}
	if err != nil {
		return nil, fmt.Errorf("read what the indices behind %s hold: %w", alias, err)
	}
	prints := make(map[string]Fingerprint, len(answer.Indices))
	for name, index := range answer.Indices {
		print := Fingerprint{UUID: index.UUID}
		for _, copies := range index.Shards {
			for _, s := range copies {
				if s.Routing.Primary {
					print.Docs += s.Docs.Count
					print.MaxSeqNo += s.SeqNo.Max
				}
			}
		}
		prints[name] = print
	}
	return prints, nil
}

// MissingShards names the indices behind the alias, and those named like daily
// ones, that have a primary shard without a working node: searches cannot see
// all of their documents.
func MissingShards(ctx context.Context, t *target.Target) ([]string, error) {
	b := t.Backend()
	var names []string
	for _, expression := range []string{b.Alias, b.AnyDaily()} {
		var rows []struct{ Index, Prirep, State string }
		path := "/_cat/shards/" + url.PathEscape(expression) + "?format=json&h=index,prirep,state"
		err := t.Ask(ctx, http.MethodGet, path, nil, &rows)
		if err != nil && !cluster.IsMissing(err) {
			return nil, fmt.Errorf("look for missing shards of %s: %w", expression, err)
		}
		for _, row := range rows {
			_, daily := b.DayOf(row.Index)
			missing := row.Prirep == "p" && row.State != "STARTED" && row.State != "RELOCATING"
			if missing && (daily || expression == b.Alias) && !slices.Contains(names, row.Index) {
				names = append(names, row.Index)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// CountBetween counts the documents of an index whose timestamp lies in
// [from, to), milliseconds since 1970.
func CountBetween(ctx context.Context, t *target.Target, index string, from, to int64) (int64, error) {
	return t.Count(ctx, index, cluster.InTime(from, to))
}
