package target

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Segments are what the primary shards of an index lie in. It adds up segments,
// because the size in an index's statistics may be ten seconds old.
type Segments struct {
	Most   int   // in one shard
	Bytes  int64 // of all of them
	single []int // shards with several documents in one segment
}

// Codec is the codec of an index's stored fields, such as best_compression.
func (i Index) Codec() string { return cmp.Or(i.settings["index.codec"], "default") }

// Shards is how many primary shards an index has.
func (i Index) Shards() int {
	n, err := strconv.Atoi(i.settings["index.number_of_shards"])
	if err != nil {
		return 0 // not asked for
	}
	return n
}

// Segments looks at an index of so many shards, after a refresh. A shard that is
// away makes it ErrIncomplete.
func (x *indices) Segments(ctx context.Context, index Index) (s Segments, err error) {
	type segment struct {
		Docs    int64 `json:"num_docs"`
		Deleted int64 `json:"deleted_docs"`
		Bytes   int64 `json:"size_in_bytes"`
	}
	type shard struct {
		Routing  struct{ Primary bool }
		Segments map[string]segment
	}
	var answer struct {
		Indices map[string]struct{ Shards map[string][]shard }
	}
	if err := x.Ask(ctx, http.MethodGet, "/"+url.PathEscape(index.Name)+"/_segments", nil, &answer); err != nil {
		return s, fmt.Errorf("read the segments of index %s: %w", index.Name, err)
	}
	primaries := 0
	for number, copies := range answer.Indices[index.Name].Shards {
		for _, shard := range copies {
			if !shard.Routing.Primary {
				continue
			}
			primaries++
			s.Most = max(s.Most, len(shard.Segments))
			for _, one := range shard.Segments {
				s.Bytes += one.Bytes
				if n, err := strconv.Atoi(number); err == nil && len(shard.Segments) == 1 && one.Docs > 1 && one.Deleted == 0 {
					s.single = append(s.single, n)
				}
			}
		}
	}
	if want := index.Shards(); primaries != want {
		return s, fmt.Errorf("read the segments of index %s: %w: %d of %d shards answered", index.Name, cluster.ErrIncomplete, primaries, want)
	}
	return s, nil
}

// Loosen gives each shard that is one segment a second one, by writing a document
// of it again as it is: OpenSearch merges no shard of one segment, so that its
// second copy of each payload would stay. Nobody else may write to the index.
func (x *indices) Loosen(ctx context.Context, index Index) error {
	s, err := x.Segments(ctx, index)
	if err != nil || len(s.single) == 0 {
		return err
	}
	for _, shard := range s.single {
		if err := x.writeAgain(ctx, index, shard); err != nil {
			return fmt.Errorf("write a document of shard %d of index %s again: %w", shard, index.Name, err)
		}
	}
	if err := x.Refresh(ctx, index.Name); err != nil {
		return err
	}
	return x.Flush(ctx, index.Name)
}

// writeAgain writes some document of a shard again, under the same version.
func (x *indices) writeAgain(ctx context.Context, index Index, shard int) error {
	var found cluster.Hits[struct {
		ID      string `json:"_id"`
		Version int64  `json:"_version"`
		Fields  struct {
			Data      []string
			Timestamp cluster.Millis
		}
	}]
	query := map[string]any{
		"size": 1, "version": true, "_source": false, "stored_fields": []string{"data"}, "docvalue_fields": cluster.MillisField(),
		"query": map[string]any{"exists": map[string]any{"field": "timestamp"}},
	}
	path := "/" + url.PathEscape(index.Name) + "/_search?preference=_shards:" + strconv.Itoa(shard)
	if err := x.Ask(ctx, http.MethodPost, path, query, &found); err != nil {
		return err
	}
	if len(found.Hits.Hits) == 0 {
		return nil
	}
	hit := found.Hits.Hits[0]
	millis, err := hit.Fields.Timestamp.Value()
	if err != nil || len(hit.Fields.Data) == 0 {
		return err
	}
	var body bytes.Buffer
	for _, line := range []any{
		map[string]any{"index": map[string]any{"_id": hit.ID, "version": hit.Version, "version_type": "external_gte"}},
		map[string]any{"data": hit.Fields.Data[0], "timestamp": string(node.AppendTimestamp(nil, millis*1000))},
	} {
		if err := json.NewEncoder(&body).Encode(line); err != nil {
			return err
		}
	}
	reply, err := x.Bulk(ctx, "/"+url.PathEscape(index.Name)+"/_bulk?filter_path="+cluster.ItemFields, body.Bytes())
	if err = cmp.Or(err, reply.Err); err != nil {
		return err
	}
	items, err := cluster.Items(reply.Body, 1)
	if err == nil && !items[0].Stored() && items[0].Status != http.StatusConflict {
		err = items[0].Refusal()
	}
	return err
}

// Settled reports whether a merge would drop the second copy of each payload: that
// is kept for replicas that come back, until about half a minute after the last
// write and a flush.
func (x *indices) Settled(ctx context.Context, index Index) (bool, error) {
	var answer struct {
		Shards  cluster.Shards `json:"_shards"`
		Indices map[string]struct {
			Shards map[string][]struct {
				SeqNo struct {
					Max int64 `json:"max_seq_no"`
				} `json:"seq_no"`
				Leases struct {
					Leases []struct {
						Retaining int64 `json:"retaining_seq_no"`
					}
				} `json:"retention_leases"`
			}
		}
	}
	path := "/" + url.PathEscape(index.Name) + "/_stats?level=shards&filter_path=_shards,indices.*.shards.*.seq_no,indices.*.shards.*.retention_leases"
	if err := x.Ask(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return false, fmt.Errorf("read the retention leases of index %s: %w", index.Name, err)
	}
	shards := answer.Indices[index.Name].Shards
	if answer.Shards.Failed > 0 || len(shards) != index.Shards() {
		return false, nil
	}
	for _, copies := range shards {
		for _, shard := range copies {
			for _, lease := range shard.Leases.Leases {
				if lease.Retaining <= shard.SeqNo.Max {
					return false, nil
				}
			}
		}
	}
	return true, nil
}

// Merge has an index merged to one segment a shard, and does not wait for it.
// OpenSearch before 2.7 cannot do that, and refuses.
func (x *indices) Merge(ctx context.Context, index Index) error {
	err := x.Ask(ctx, http.MethodPost, "/"+url.PathEscape(index.Name)+"/_forcemerge?max_num_segments=1&wait_for_completion=false", nil, nil)
	if err != nil {
		return fmt.Errorf("merge index %s: %w", index.Name, err)
	}
	return nil
}

// Merging reports whether a merge that was asked for is under way.
func (x *indices) Merging(ctx context.Context, index Index) (bool, error) {
	var answer struct {
		Nodes map[string]struct {
			Tasks map[string]struct{ Description string }
		}
	}
	if err := x.Ask(ctx, http.MethodGet, "/_tasks?actions=indices:admin/forcemerge*&detailed=true", nil, &answer); err != nil {
		return false, fmt.Errorf("look for merges: %w", err)
	}
	for _, n := range answer.Nodes {
		for _, task := range n.Tasks {
			if slices.Contains(strings.FieldsFunc(task.Description, func(r rune) bool { return strings.ContainsRune("[], ", r) }), index.Name) {
				return true, nil
			}
		}
	}
	return false, nil
}
