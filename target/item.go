package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// itemFields are what is asked for of each item of a bulk's answer. The result
// tells a node that was stored from one that a pipeline dropped: both are a 200.
const itemFields = "items.*.status,items.*.result,items.*.error.type,items.*.error.reason"

// errNoop means that the cluster took nodes and stored nothing.
var errNoop = hint.Add(errors.New("the cluster answers noop: an ingest pipeline drops documents"),
	"GET _ingest/pipeline, and look for a processor drop that the index's settings default_pipeline or final_pipeline, or its templates, lead to; take it out, then run the same command again")

// itemAnswer is the server's word on one item.
type itemAnswer struct {
	Status int    `json:"status"`
	Result string `json:"result"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

// absent reports whether an item was not carried out because there is no document.
func (a itemAnswer) absent() bool {
	return a.Result == "not_found" || strings.HasSuffix(a.Error.Reason, "but no document was found")
}

// class is what the item's refusal asks for.
func (a itemAnswer) class() class { return classOf(a.error(), ofItem) }

func (a itemAnswer) error() *Error {
	return &Error{Op: "bulk item", Status: a.Status, Type: a.Error.Type, Reason: withoutPayload(a.Error.Reason)}
}

func (a itemAnswer) refusal() error { return withHint(a.error()) }

// itemAnswers decodes a bulk's answer, which has to have a word on each of n items.
func itemAnswers(body []byte, n int) ([]itemAnswer, error) {
	var answer struct {
		Items []map[string]itemAnswer `json:"items"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	if len(answer.Items) != n {
		return nil, fmt.Errorf("the answer has %d items for %d documents", len(answer.Items), n)
	}
	answers := make([]itemAnswer, 0, n)
	for _, words := range answer.Items {
		if len(words) != 1 {
			return nil, fmt.Errorf("the answer has %d words on one document", len(words))
		}
		for _, a := range words {
			answers = append(answers, a)
		}
	}
	return answers, nil
}
