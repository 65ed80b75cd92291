package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Ask sends one request with a JSON body, if it is not nil, and decodes the
// answer into answer, if that is not nil. What asks for it is sent again.
func (c *Cluster) Ask(ctx context.Context, method, path string, body, answer any) error {
	content, err := c.ask(ctx, method, path, body)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

// ask is Ask without the decoding.
func (c *Cluster) ask(ctx context.Context, method, path string, body any) (answer []byte, err error) {
	op := method + " " + path
	request := call{method: method, path: path, kind: "application/json"}
	if body != nil {
		if request.body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	err = c.Retry(ctx, func(*Waits) (cause, err error) {
		reply, err := c.once(ctx, op, request)
		if err != nil {
			return nil, err
		}
		if reply.Err != nil && reply.Class != Retry {
			return nil, reply.Err
		}
		answer = reply.Body
		return reply.Err, nil
	})
	return answer, err
}

// call is a request.
type call struct {
	method, path string
	body         []byte // nil: none
	kind         string // of the body
}

// Reply is what came of a request.
type Reply struct {
	Body      []byte // the answer
	Err       error  // why there is none, with a remedy; nil: there is
	Class     Class  // what Err asks for
	Uncertain bool   // the request may have been carried out, though nobody said so
}

// once sends a request once. An error is that of ctx.
func (c *Cluster) once(ctx context.Context, op string, request call) (Reply, error) {
	status, body, err := c.exchange(ctx, request)
	if ctx.Err() != nil {
		return Reply{}, fmt.Errorf("%s: %w", op, ctx.Err())
	}
	if err != nil {
		return cutOff(op, err), nil
	}
	return reply(op, status, body, c.config.Signer != nil), nil
}

// cutOff is what came of a request whose connection broke.
func cutOff(op string, err error) Reply {
	if mendable(err) {
		return Reply{Class: Stop, Err: fmt.Errorf("%s: %w", op, err)}
	}
	return Reply{Class: Retry, Err: fmt.Errorf("%s: the connection broke: %w", op, err), Uncertain: true}
}

// reply is what an answer means. Those of OpenSearch's that are asked for here
// all begin as JSON does.
func reply(op string, status int, body []byte, signed bool) Reply {
	if status < http.StatusMultipleChoices && len(body) > 0 && (body[0] == '{' || body[0] == '[') {
		return Reply{Body: body}
	}
	e := refusal(op, status, body)
	e.signed = signed
	return Reply{Err: e.explained(), Class: e.class(ofRequest), Uncertain: status != http.StatusTooManyRequests}
}

// largeBody is the size from which a request asks before it sends its body, so
// that a limit is told by a 413 and not by a broken connection.
const largeBody = 64 << 20

// maxRefusal is how much is read of a refusal: a proxy's page may have no end.
const maxRefusal = 8 << 20

// exchange sends a request and reads the response to its end.
func (c *Cluster) exchange(ctx context.Context, to call) (status int, body []byte, err error) {
	request, err := newRequest(ctx, to.method, to.path, to.body)
	if err != nil {
		return 0, nil, err
	}
	if to.body != nil {
		request.Header.Set("Content-Type", to.kind)
	}
	if len(to.body) > largeBody && !c.noExpect.Load() {
		request.Header.Set("Expect", "100-continue")
	}
	response, err := c.client.Stream(request)
	if err != nil {
		if response != nil {
			response.Body.Close()
		}
		return 0, nil, broken(withoutRequest(err))
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusExpectationFailed {
		c.noExpect.Store(true)
	}
	whole := io.Reader(response.Body)
	if response.StatusCode >= http.StatusMultipleChoices {
		whole = io.LimitReader(whole, maxRefusal)
	}
	body, err = io.ReadAll(whole)
	return response.StatusCode, body, err
}
