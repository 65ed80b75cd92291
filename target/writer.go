package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Rejection is a node that was not copied.
type Rejection struct {
	ID     string
	Micros int64
	Reason node.Reason
	Detail string // the server's words, without any payload; may be empty
}

// Outcome is what became of a batch: the fates add up to its nodes.
type Outcome struct {
	Fates    node.Fates
	Replaced int64 // of those stored, how many took the place of an older document in the index
	Rejected []Rejection
	// SentAgain: some nodes were sent more than once, because they were not
	// taken at first or nobody knows whether they were.
	SentAgain bool
}

// Write sends a batch to a daily index and returns when each of its nodes has
// its fate, durably. Nodes that the cluster cannot take now are sent again for
// as long as Config.Patience says. An index that is being loaded is written
// through its LoadingName, and ErrDropped says that it is gone.
func (t *Target) Write(ctx context.Context, index Index, b *Batch) (Outcome, error) {
	d := &delivery{target: t, index: index, batch: b, name: index.Name}
	if index.loading {
		d.name = LoadingName(index.Name)
	}
	err := d.run(ctx)
	return d.outcome, err
}

// delivery is one batch on its way.
type delivery struct {
	target  *Target
	index   Index
	name    string // what the requests are addressed to
	batch   *Batch
	outcome Outcome
}

// group are items of a batch that travel together.
type group struct {
	items []int
	// uncertain: an earlier request for these may have been carried out though
	// its answer never came, so what is "already there" may be our own.
	uncertain bool
}

func (d *delivery) run(ctx context.Context) error {
	all := make([]int, d.batch.Len())
	for i := range all {
		all[i] = i
	}
	waiting := []group{{items: all}}
	for len(waiting) > 0 {
		next := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		halves, err := d.settle(ctx, next)
		if err != nil {
			return fmt.Errorf("write %d nodes to index %s: %w", len(next.items), d.index.Name, err)
		}
		waiting = append(waiting, halves...)
	}
	return nil
}

// settle sends a group until each of its items has a fate, or returns the
// halves of a group that is too large for one request.
func (d *delivery) settle(ctx context.Context, g group) (halves []group, err error) {
	var patience backoff
	for len(g.items) > 0 {
		answer, err := d.send(ctx, g)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		verdict := judge(answer, err)
		switch verdict.action {
		case stop:
			return nil, verdict.err
		case split:
			return d.split(g), nil
		}
		g.uncertain = g.uncertain || verdict.uncertain
		if verdict.action == read {
			before := len(g.items)
			if g.items, err = d.assign(ctx, g, answer.body); err != nil {
				return nil, err
			}
			if len(g.items) < before {
				patience = backoff{}
			}
			verdict.cause = "the cluster's write queue is full"
		}
		if len(g.items) == 0 {
			break
		}
		if err := d.target.pause(ctx, &patience, verdict.cause); err != nil {
			return nil, err
		}
		d.outcome.SentAgain = true
	}
	return nil, nil
}

// split halves a group. A single node that is too large is rejected.
func (d *delivery) split(g group) []group {
	if len(g.items) == 1 {
		d.reject(g.items[0], ReasonTooLarge, "")
		return nil
	}
	middle := len(g.items) / 2
	return []group{{g.items[middle:], g.uncertain}, {g.items[:middle], g.uncertain}}
}

func (d *delivery) reject(i int, reason node.Reason, detail string) {
	d.outcome.Fates[node.Rejected]++
	d.outcome.Rejected = append(d.outcome.Rejected, Rejection{
		ID: d.batch.id(i), Micros: d.batch.items[i].micros, Reason: reason, Detail: detail,
	})
}

// answer is a response that was read to its end.
type answer struct {
	status int
	body   []byte
}

// largeBody is the size from which a request asks before it sends its body, so
// that a limit is told by a 413 and not by a broken connection.
const largeBody = 64 << 20

// send sends the items of a group in one request.
func (d *delivery) send(ctx context.Context, g group) (answer, error) {
	body := d.batch.part(g.items)
	query := "?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
	if d.index.loading {
		query += "&require_alias=true"
	}
	return d.target.post(ctx, "/"+url.PathEscape(d.name)+"/_bulk"+query, body)
}

func (t *Target) post(ctx context.Context, path string, body []byte) (answer, error) {
	request, err := newRequest(ctx, path, body)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if len(body) > largeBody {
		request.Header.Set("Expect", "100-continue")
	}
	response, err := t.bulk.Stream(request)
	if err != nil {
		if response != nil {
			response.Body.Close()
		}
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, content}, err
}

// action is what a request's answer asks for.
type action uint8

const (
	read  action = iota // each item has an answer of its own
	again               // send the same items once more, after a pause
	split               // send them in two requests
	stop                // nothing that is sent again would be taken
)

// judgement is what to do about an answer, and why.
type judgement struct {
	action    action
	cause     string // of the pause, for again
	uncertain bool   // the request may have been carried out
	err       error  // for stop
}

// judge is the one function that decides what is sent again.
func judge(a answer, err error) judgement {
	if err != nil {
		return judgement{action: again, cause: "the connection broke: " + err.Error(), uncertain: true}
	}
	switch a.status {
	case http.StatusOK:
		return judgement{action: read}
	case http.StatusRequestEntityTooLarge:
		return judgement{action: split}
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		refused := refusal("bulk", a.status, a.body)
		if errors.Is(refused, ErrBlocked) {
			return judgement{action: stop, err: refused}
		}
		return judgement{action: again, cause: refused.Error(), uncertain: a.status != http.StatusTooManyRequests}
	}
	return judgement{action: stop, err: refusal("bulk", a.status, a.body)}
}

// itemAnswer is the server's word on one item.
type itemAnswer struct {
	Status int `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

// ofIndex reports whether the refusal is about the index or the cluster, so
// that every node would meet it: a block, a closed index, an index that could
// not be created. The last two are a 400 like a node that the mapping refuses.
func (a itemAnswer) ofIndex() bool {
	switch a.Error.Type {
	case "cluster_block_exception", "index_closed_exception", "validation_exception":
		return true
	}
	return false
}

// assign gives the items their fates by the server's answer, and returns those
// that have to be sent again.
func (d *delivery) assign(ctx context.Context, g group, body []byte) (remaining []int, err error) {
	if bytes.HasPrefix(body, []byte(`{"errors":false`)) {
		d.outcome.Fates[node.Stored] += int64(len(g.items))
		d.outcome.Replaced += int64(bytes.Count(body, []byte(`"status":200`)))
		return nil, nil
	}
	var answers struct {
		Items []map[string]itemAnswer `json:"items"`
	}
	if err := json.Unmarshal(body, &answers); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	if len(answers.Items) != len(g.items) {
		return nil, fmt.Errorf("the answer has %d items for %d nodes", len(answers.Items), len(g.items))
	}
	var conflicts []int
	for k, i := range g.items {
		if len(answers.Items[k]) != 1 {
			return nil, fmt.Errorf("the answer has %d words on one node", len(answers.Items[k]))
		}
		for _, a := range answers.Items[k] {
			switch fate, verdict := d.fate(g, i, a); verdict {
			case fated:
				d.outcome.Fates[fate]++
				if a.Status == http.StatusOK {
					d.outcome.Replaced++
				}
			case conflict:
				conflicts = append(conflicts, i)
			case unfated:
				remaining = append(remaining, i)
			case refused:
				d.reject(i, ReasonRefused, withoutPayload(a.Error.Type+": "+a.Error.Reason))
			case fatal:
				return nil, d.fatal(a)
			}
		}
	}
	contested, err := d.resolve(ctx, g, conflicts)
	return append(remaining, contested...), err
}

// itemVerdict is what an item's answer means.
type itemVerdict uint8

const (
	fated    itemVerdict = iota
	conflict             // a document is there, and it has to be looked at
	unfated              // not taken now, worth sending again
	refused              // this node will never be taken
	fatal                // no node will be taken
)

// fate decides about one item. The codes are those of facts measured on 2.19.4
// and 3.4.0: a full queue and a full disk are both a 429, told apart by type.
func (d *delivery) fate(g group, i int, a itemAnswer) (node.Fate, itemVerdict) {
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusCreated:
		return node.Stored, fated
	case a.Status == http.StatusConflict && d.batch.mode == CreateOnly:
		return 0, conflict
	case a.Status == http.StatusConflict:
		return d.versionFate(g, i, a.Error.Reason), fated
	case a.ofIndex() || a.Status == http.StatusNotFound ||
		a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden:
		return 0, fatal
	case a.Status == http.StatusTooManyRequests || a.Status == http.StatusBadGateway ||
		a.Status == http.StatusServiceUnavailable || a.Status == http.StatusGatewayTimeout:
		return 0, unfated
	case a.Status == http.StatusBadRequest || a.Status == http.StatusRequestEntityTooLarge:
		return 0, refused
	}
	return 0, fatal
}

// versionFate tells by the version that the target has, which the reason of
// the conflict names, whether it has this very node or a newer one.
func (d *delivery) versionFate(g group, i int, reason string) node.Fate {
	current := int64(-1)
	const before = "current version ["
	if at := strings.LastIndex(reason, before); at >= 0 { // the id comes first, and may hold anything
		digits, _, _ := strings.Cut(reason[at+len(before):], "]")
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			current = n
		}
	}
	switch {
	case current != version(d.batch.items[i].micros):
		return node.Superseded
	case g.uncertain:
		return node.Stored
	}
	return node.AlreadyThere
}

func (d *delivery) fatal(a itemAnswer) error {
	e := &Error{Op: "bulk item", Status: a.Status, Type: a.Error.Type, Reason: withoutPayload(a.Error.Reason)}
	if a.Status == http.StatusNotFound {
		return hint.Add(fmt.Errorf("%w: %w", ErrDropped, e),
			"somebody removed it, perhaps Sentry's cleanup; run the same command again")
	}
	return withHint(e)
}

// backoff is the wait between two tries for the same nodes.
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
func (t *Target) pause(ctx context.Context, b *backoff, cause string) error {
	if b.waited >= t.config.Patience {
		return hint.Add(fmt.Errorf("gave up after %s: %s", b.waited.Round(time.Second), cause),
			"look at the cluster's health and load; run the same command again, it goes on where it stopped")
	}
	pause := b.next()
	if t.config.Waiting != nil {
		t.config.Waiting(cause, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
