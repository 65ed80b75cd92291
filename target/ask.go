package target

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
)

// ask sends one request with a JSON body, if it is not nil, and decodes the
// answer into answer, if that is not nil. Every request but a bulk goes through
// here.
func (t *Target) ask(ctx context.Context, method, path string, body, answer any) error {
	content, err := t.askRaw(ctx, method, path, body)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

// askRaw is ask without the decoding. It asks again, as judge says, for as long
// as Config.Patience lasts.
func (t *Target) askRaw(ctx context.Context, method, path string, body any) ([]byte, error) {
	op := method + " " + path
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	var patience backoff
	for {
		a, err := t.exchange(ctx, method, path, encoded)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", op, ctx.Err())
		}
		verdict := judge(op, a, err)
		if verdict.err == nil {
			return a.body, nil
		}
		if verdict.class != again {
			return nil, verdict.err
		}
		if err := t.pause(ctx, &patience, verdict.err); err != nil {
			return nil, err
		}
	}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	body   []byte
	signed bool // the request was
}

// largeBody is the size from which a request asks before it sends its body, so
// that a limit is told by a 413 and not by a broken connection.
const largeBody = 64 << 20

// maxRefusal is how much is read of a refusal: a proxy's page may have no end.
const maxRefusal = 8 << 20

// exchange sends one request once.
func (t *Target) exchange(ctx context.Context, method, path string, body []byte) (answer, error) {
	request, err := newRequest(ctx, method, path, body)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if strings.Contains(path, "/_bulk") {
		request.Header.Set("Content-Type", "application/x-ndjson")
	}
	if len(body) > largeBody && !t.noExpect.Load() {
		request.Header.Set("Expect", "100-continue")
	}
	response, err := t.client.Stream(request)
	if err != nil {
		if response != nil {
			response.Body.Close()
		}
		return answer{}, withoutRequest(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusExpectationFailed {
		t.noExpect.Store(true)
	}
	whole := io.Reader(response.Body)
	if response.StatusCode >= http.StatusMultipleChoices {
		whole = io.LimitReader(whole, maxRefusal)
	}
	content, err := io.ReadAll(whole)
	return answer{response.StatusCode, content, t.config.Signer != nil}, err
}

// judgement is what to do about an answer that is none, and why.
type judgement struct {
	class     class
	err       error // why; nil: it is an answer
	uncertain bool  // the request may have been carried out, though nobody said so
}

// judge is the one function that decides about the answer to a request.
func judge(op string, a answer, err error) judgement {
	switch {
	case err != nil && permanent(err):
		return judgement{class: stop, err: fmt.Errorf("%s: %w", op, err)}
	case err != nil:
		return judgement{class: again, err: fmt.Errorf("%s: the connection broke: %w", op, err), uncertain: true}
	case a.status < http.StatusMultipleChoices && isJSON(a.body):
		return judgement{}
	}
	e := refusal(op, a.status, a.body)
	e.signed = a.signed
	return judgement{class: classOf(e, ofRequest), err: withHint(e), uncertain: a.status != http.StatusTooManyRequests}
}

// isJSON reports whether an answer begins as all of OpenSearch's do that are asked for here.
func isJSON(body []byte) bool { return len(body) > 0 && (body[0] == '{' || body[0] == '[') }

// backoff is the wait between two tries for the same.
type backoff struct {
	tries  int
	waited time.Duration
}

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 15 * time.Second
)

// next returns the next pause: doubled each time up to maxPause, with full
// jitter below it so that senders do not come back together.
func (b *backoff) next() time.Duration {
	ceiling := min(firstPause<<min(b.tries, 20), maxPause)
	pause := ceiling/2 + rand.N(ceiling/2+1)
	b.tries++
	b.waited += pause
	return pause
}

// pause waits before the next try, or gives up when the patience is spent.
func (t *Target) pause(ctx context.Context, b *backoff, cause error) error {
	if b.waited >= t.patience {
		err := fmt.Errorf("gave up after %s: %w", b.waited.Round(time.Second), cause)
		if hint.Of(err) != "" || t.identity.ClusterUUID == "" { // then Open knows better
			return err
		}
		return hint.Add(err, "look at the cluster's health and load; then run the same command again to resume")
	}
	pause := b.next()
	if t.config.Waiting != nil {
		t.config.Waiting(cause.Error(), pause)
	}
	return orderly.Sleep(ctx, pause)
}
