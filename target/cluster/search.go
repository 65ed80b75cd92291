package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// ErrIncomplete means that a search did not see every document: it ran out of
// time, or a shard was away. The same question can be asked again.
var ErrIncomplete = errors.New("the answer is not whole")

// Shards is what an answer says of the shards that were asked.
type Shards struct {
	Total, Successful, Failed int // Successful with the skipped ones
}

// Search asks an index or alias, or several, and decodes a whole answer: this is
// the one door for searches, counts and aggregations (promise 13). The primaries
// are asked: under segment replication a replica may be behind, and answers here
// remove and blame.
func (c *Cluster) Search(ctx context.Context, index string, query map[string]any, answer any) error {
	return c.SearchWith(ctx, index, query, func(content []byte) ([]byte, error) { return content, json.Unmarshal(content, answer) })
}

// searchTimeout is how long a search may take on a shard. It is said with each
// search, because search.default_search_timeout may be too short for a whole
// answer, and ends before requestTimeout.
const searchTimeout = "270s"

// SearchWith is Search for answers that are large: decode takes out of an answer
// what it wants, and returns a rest that is JSON. OpenSearch counts neither an
// unassigned shard nor one whose search ran out of time as failed, so a whole
// answer is one in which every shard was successful in time. Another one is
// asked for again.
func (c *Cluster) SearchWith(ctx context.Context, index string, query map[string]any, decode func([]byte) (rest []byte, err error)) error {
	path := "/" + url.PathEscape(index) + "/_search?allow_partial_search_results=false&preference=_primary&timeout=" + searchTimeout
	return c.Retry(ctx, func(*Waits) (cause, err error) {
		content, err := c.ask(ctx, http.MethodPost, path, query)
		if err != nil {
			return nil, err
		}
		var said struct {
			TimedOut bool   `json:"timed_out"`
			Shards   Shards `json:"_shards"`
		}
		rest, err := decode(content)
		if err == nil {
			err = json.Unmarshal(rest, &said)
		}
		if err != nil {
			return nil, fmt.Errorf("search %s: decode the answer: %w", index, err)
		}
		if !said.TimedOut && said.Shards.Failed == 0 && said.Shards.Successful == said.Shards.Total {
			return nil, nil
		}
		late := ""
		if said.TimedOut {
			late = ", and the search ran out of time"
		}
		return fmt.Errorf("search %s: %w: %d of %d shards answered%s", index, ErrIncomplete, said.Shards.Successful, said.Shards.Total, late), nil
	})
}

// Hits is a search's answer for documents of a form.
type Hits[T any] struct {
	Hits struct {
		Total struct{ Value int64 }
		Hits  []T
	}
}

// Total is how many documents match.
func (h Hits[T]) Total() int { return int(h.Hits.Total.Value) }

// Whole reports whether all of them came.
func (h Hits[T]) Whole() bool { return h.Total() == len(h.Hits.Hits) }

// Count counts the documents that match, all of them without a query.
func (c *Cluster) Count(ctx context.Context, index string, query map[string]any) (int64, error) {
	request := map[string]any{"size": 0, "track_total_hits": true}
	if query != nil {
		request["query"] = query
	}
	var answer Hits[struct{}]
	if err := c.Search(ctx, index, request, &answer); err != nil {
		return 0, fmt.Errorf("count documents of %s: %w", index, err)
	}
	return answer.Hits.Total.Value, nil
}

// OnAllShards posts what no shard may fail to do. Replicas without a node count
// as neither failed nor successful.
func (c *Cluster) OnAllShards(ctx context.Context, path string) error {
	return c.Retry(ctx, func(*Waits) (cause, err error) {
		var answer struct {
			Shards Shards `json:"_shards"`
		}
		if err := c.Ask(ctx, http.MethodPost, path, nil, &answer); err != nil || answer.Shards.Failed == 0 {
			return nil, err
		}
		return fmt.Errorf("%w: %d of %d shards failed", ErrIncomplete, answer.Shards.Failed, answer.Shards.Total), nil
	})
}

// MillisField asks for a document's timestamp as OpenSearch keeps it.
func MillisField() []any {
	return []any{map[string]string{"field": "timestamp", "format": "epoch_millis"}}
}

// Millis is the answer to MillisField.
type Millis []string

// Value is the timestamp in milliseconds since 1970, -1 if there is none.
func (m Millis) Value() (int64, error) {
	if len(m) == 0 {
		return -1, nil
	}
	return strconv.ParseInt(m[0], 10, 64)
}

// OfIDs is the query for documents by their ids.
func OfIDs(ids []string) map[string]any {
	// The server refuses the empty id, which no document has.
	known := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })
	return map[string]any{"ids": map[string]any{"values": append([]string{}, known...)}}
}

// InTime is the query for documents whose timestamp lies in [from, to),
// milliseconds since 1970.
func InTime(from, to int64) map[string]any {
	return map[string]any{"range": map[string]any{"timestamp": map[string]any{"gte": from, "lt": to, "format": "epoch_millis"}}}
}
