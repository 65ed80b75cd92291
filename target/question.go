package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// ErrIncomplete means that a search did not see every document: it ran out of
// time, or a shard was away. The same question can be asked again.
var ErrIncomplete = errors.New("the answer is not whole")

// wholeness is what a search's answer says of itself. OpenSearch counts neither
// an unassigned shard nor one whose search ran out of time as failed, so a
// whole answer is one in which every shard was successful in time.
type wholeness struct {
	TimedOut bool `json:"timed_out"`
	Shards   struct {
		Total      int `json:"total"`
		Successful int `json:"successful"` // with the skipped ones
		Failed     int `json:"failed"`
	} `json:"_shards"`
}

func (w wholeness) check() error {
	if !w.TimedOut && w.Shards.Failed == 0 && w.Shards.Successful == w.Shards.Total {
		return nil
	}
	late := ""
	if w.TimedOut {
		late = ", and the search ran out of time"
	}
	return fmt.Errorf("%w: %d of %d shards answered%s", ErrIncomplete, w.Shards.Successful, w.Shards.Total, late)
}

// search asks an index or alias, or several, and decodes a whole answer: this is
// the one door for searches, counts and aggregations (promise 13). The primaries
// are asked: under segment replication a replica may be behind, and answers here
// remove and blame.
func (t *Target) search(ctx context.Context, index string, query map[string]any, answer any) error {
	return t.searchLifted(ctx, index, query, func(content []byte) ([]byte, error) { return content, json.Unmarshal(content, answer) })
}

// searchTimeout is how long a search may take on a shard. It is said with each
// search, because search.default_search_timeout may be too short for a whole
// answer, and ends before requestTimeout.
const searchTimeout = "270s"

// searchLifted is search for answers that are large: decode takes out of an
// answer what it wants, and returns a rest that is JSON. What is not whole is
// asked again for as long as Config.Patience lasts.
func (t *Target) searchLifted(ctx context.Context, index string, query map[string]any, decode func([]byte) (rest []byte, err error)) error {
	path := "/" + url.PathEscape(index) + "/_search?allow_partial_search_results=false&preference=_primary&timeout=" + searchTimeout
	var patience backoff
	for {
		content, err := t.askRaw(ctx, http.MethodPost, path, query)
		if err != nil {
			return err
		}
		var whole wholeness
		rest, err := decode(content)
		if err == nil {
			err = json.Unmarshal(rest, &whole)
		}
		if err != nil {
			return fmt.Errorf("search %s: decode the answer: %w", index, err)
		}
		if err = whole.check(); err == nil {
			return nil
		}
		if err := t.pause(ctx, &patience, fmt.Errorf("search %s: %w", index, err)); err != nil {
			return err
		}
	}
}

// hits is a search's answer for documents of a form.
type hits[T any] struct {
	Hits struct {
		Total struct {
			Value int64 `json:"value"`
		} `json:"total"`
		Hits []T `json:"hits"`
	} `json:"hits"`
}

func (h hits[T]) total() int { return int(h.Hits.Total.Value) }

func (h hits[T]) whole() bool { return h.total() == len(h.Hits.Hits) }

// millisField asks for a document's timestamp as OpenSearch keeps it.
func millisField() []any {
	return []any{map[string]string{"field": "timestamp", "format": "epoch_millis"}}
}

func ofIDs(ids []string) map[string]any {
	// The server refuses the empty id, which no document has.
	known := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })
	return map[string]any{"ids": map[string]any{"values": append([]string{}, known...)}}
}

// count counts the documents that match, all of them without a query.
func (t *Target) count(ctx context.Context, index string, query map[string]any) (int64, error) {
	request := map[string]any{"size": 0, "track_total_hits": true}
	if query != nil {
		request["query"] = query
	}
	var answer hits[struct{}]
	err := t.search(ctx, index, request, &answer)
	return answer.Hits.Total.Value, err
}
