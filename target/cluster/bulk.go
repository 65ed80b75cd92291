package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// ItemFields are what is asked for of each item of a bulk's answer, as its
// filter_path. The result tells a document that was stored from one that a
// pipeline dropped: both are a 200.
const ItemFields = "items.*.status,items.*.result,items.*.error.type,items.*.error.reason"

// ErrNoop means that the cluster took documents and stored nothing.
var ErrNoop = hint.Add(errors.New("the cluster answers noop: an ingest pipeline drops documents"),
	"GET _ingest/pipeline, and look for a processor drop that the index's settings default_pipeline or final_pipeline, or its templates, lead to; take it out, then run the same command again")

// Bulk posts a bulk once. An error is that of ctx.
func (c *Cluster) Bulk(ctx context.Context, path string, body []byte) (Reply, error) {
	return c.once(ctx, "bulk", call{http.MethodPost, path, body, "application/x-ndjson"})
}

// Item is the server's word on one item of a bulk.
type Item struct {
	Status      int
	Result      string
	SeqNo       int64 `json:"_seq_no"`
	PrimaryTerm int64 `json:"_primary_term"`
	Error       struct{ Type, Reason string }
}

// Stored reports whether the item was carried out.
func (i Item) Stored() bool { return i.Status < http.StatusMultipleChoices }

// Absent reports whether it was not because there is no document.
func (i Item) Absent() bool {
	return i.Result == "not_found" || strings.HasSuffix(i.Error.Reason, "but no document was found")
}

// Class is what the item's refusal asks for.
func (i Item) Class() Class { return i.refused().class(ofItem) }

// Refusal is the item's refusal as an error, with its remedy.
func (i Item) Refusal() error { return i.refused().explained() }

func (i Item) refused() *Error {
	return &Error{Op: "bulk item", Status: i.Status, Type: i.Error.Type, Reason: WithoutPayload(i.Error.Reason)}
}

// Items decodes a bulk's answer, which has to have a word on each of n items.
func Items(body []byte, n int) ([]Item, error) {
	var answer struct{ Items []map[string]Item }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	if len(answer.Items) != n {
		return nil, fmt.Errorf("the answer has %d items for %d documents", len(answer.Items), n)
	}
	items := make([]Item, 0, n)
	for _, words := range answer.Items {
		if len(words) != 1 {
			return nil, fmt.Errorf("the answer has %d words on one document", len(words))
		}
		for _, item := range words {
			items = append(items, item)
		}
	}
	return items, nil
}
