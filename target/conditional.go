package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// conditional sends a bulk whose items each name the version of a document
// that they are about, and reports for each whether it was carried out. Where
// somebody changed the document meanwhile it was not, which is no error. The
// request can be repeated, since a condition holds at most once.
func (t *Target) conditional(ctx context.Context, path string, body []byte, items int) ([]bool, error) {
	var patience backoff
	for {
		a, err := t.post(ctx, path, body)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		verdict := judge(a, err)
		switch verdict.action {
		case read:
			return carriedOut(a.body, items)
		case split:
			return nil, refusal("conditional bulk", a.status, a.body)
		case stop:
			return nil, verdict.err
		}
		if err := t.pause(ctx, &patience, verdict.cause); err != nil {
			return nil, err
		}
	}
}

func carriedOut(body []byte, items int) ([]bool, error) {
	var answers struct {
		Items []map[string]itemAnswer `json:"items"`
	}
	if err := json.Unmarshal(body, &answers); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	if len(answers.Items) != items {
		return nil, fmt.Errorf("the answer has %d items, not %d", len(answers.Items), items)
	}
	done := make([]bool, items)
	for i, item := range answers.Items {
		if len(item) != 1 {
			return nil, fmt.Errorf("the answer has %d words on one node", len(item))
		}
		for _, a := range item {
			switch {
			case a.Status < http.StatusMultipleChoices:
				done[i] = true
			case a.Status == http.StatusConflict || a.Status == http.StatusNotFound ||
				a.Status == http.StatusTooManyRequests && a.Error.Type != "cluster_block_exception" || a.Status == http.StatusServiceUnavailable:
				// not carried out; the caller looks again
			default:
				return nil, withHint(&Error{Op: "conditional bulk item", Status: a.Status, Type: a.Error.Type, Reason: withoutPayload(a.Error.Reason)})
			}
		}
	}
	return done, nil
}
