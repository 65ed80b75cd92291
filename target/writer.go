package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
// through its LoadingName, and under its own name when another run has sealed it
// meanwhile. ErrDropped says that it is gone, or that another one has its name.
func (t *Target) Write(ctx context.Context, index Index, b *Batch) (Outcome, error) {
	d := t.delivery(index, b)
	err := d.run(ctx)
	return d.outcome, err
}

// delivery is one batch on its way.
type delivery struct {
	target  *Target
	index   Index
	batch   *Batch
	outcome Outcome
}

func (t *Target) delivery(index Index, b *Batch) *delivery {
	return &delivery{target: t, index: index, batch: b}
}

// address is the path of a bulk to the index, with the answer's wanted fields.
// With require_alias a write cannot create an index.
func (d *delivery) address(fields string) string {
	if d.index.loading {
		return "/" + url.PathEscape(LoadingName(d.index.Name)) + "/_bulk?require_alias=true&filter_path=" + fields
	}
	return "/" + url.PathEscape(d.index.Name) + "/_bulk?filter_path=" + fields
}

// intact makes sure that the index under its own name is the one that was
// known. OpenSearch has no way to write to a name without creating the index
// where it is gone. So it is looked at before each request, which leaves the
// moment between the two, and after each, so that nodes which went to an index
// that came about in that moment are not counted as stored. Through the loading
// alias the server looks, and what nobody has seen yet cannot be told apart.
func (d *delivery) intact(ctx context.Context) error {
	if d.index.loading || d.index.UUID == "" {
		return nil
	}
	uuid, err := d.target.uuid(ctx, d.index.Name)
	if err == nil && uuid == d.index.UUID {
		return nil
	}
	if err != nil && !IsGone(err) {
		return err
	}
	return d.reload(ctx)
}

// reload looks for the index again, twice if it is not there. If it is the same,
// it is known from now on as it is, else the error is ErrDropped.
func (d *delivery) reload(ctx context.Context) error {
	now, same, err := d.target.Reload(ctx, d.index)
	switch {
	case err != nil:
		return err
	case same || now.UUID != "" && d.index.UUID == "":
		d.index = now
		return nil
	}
	if err := d.target.sameCluster(ctx); err != nil {
		return err
	}
	what := "nothing has its name"
	if now.UUID != "" {
		what = "another one has its name"
	}
	return hint.Add(fmt.Errorf("%w: %s", ErrDropped, what), "somebody removed it, perhaps Sentry's cleanup; run the same command again")
}

func (t *Target) uuid(ctx context.Context, name string) (string, error) {
	var answer map[string]struct {
		Settings map[string]string `json:"settings"`
	}
	path := "/" + url.PathEscape(name) + "/_settings/index.uuid?flat_settings=true"
	err := t.ask(ctx, http.MethodGet, path, nil, &answer)
	return answer[name].Settings["index.uuid"], err
}

// group are items of a batch that travel together.
type group struct {
	items []int
	// uncertain: an earlier request for these may have been carried out though
	// its answer never came, so what is "already there" may be our own.
	uncertain bool
}

func (d *delivery) run(ctx context.Context) error {
	waiting := d.groups()
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
	before := d.target.sizes.taken.Load()
	for len(g.items) > 0 {
		if err := d.intact(ctx); err != nil {
			return nil, err
		}
		body := d.batch.part(g.items)
		answer, err := d.target.exchange(ctx, http.MethodPost, d.address("errors,"+itemFields), body)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		verdict := judge("bulk", answer, err)
		if verdict.class == smaller && verdict.err != nil {
			//lint:ignore nilerr the halves are its answer
			return d.split(g, len(body)), nil
		}
		left, cause, err := d.take(ctx, g, answer, verdict)
		if err != nil {
			return nil, err
		}
		if len(left) < len(g.items) {
			patience = backoff{}
		}
		g.items, g.uncertain = left, g.uncertain || verdict.uncertain
		if len(left) == 0 {
			d.target.sizes.passed(len(body))
			break
		}
		if len(body) > smallBody && heavy(cause) && d.hopeless(ctx, g, patience, before) {
			//lint:ignore nilerr the halves are its answer
			return d.split(g, len(body)), nil
		}
		if err := d.target.pause(ctx, &patience, cause); err != nil {
			return nil, err
		}
		d.outcome.SentAgain = true
	}
	return nil, nil
}

// take returns the items that have to be sent again after an answer, and why.
func (d *delivery) take(ctx context.Context, g group, answer answer, verdict judgement) (left []int, cause, err error) {
	switch {
	case verdict.err == nil:
		if left, cause, err = d.assign(ctx, g, answer.body); err == nil && IsGone(cause) {
			err = d.reload(ctx)
		}
		return left, cause, err
	case verdict.class == again:
		return g.items, verdict.err, nil
	case verdict.class == gone:
		return g.items, verdict.err, d.reload(ctx)
	}
	return nil, nil, verdict.err
}

func (d *delivery) reject(i int, reason node.Reason, detail string) {
	d.outcome.Fates[node.Rejected]++
	d.outcome.Rejected = append(d.outcome.Rejected, Rejection{
		ID: d.batch.id(i), Micros: d.batch.items[i].micros, Reason: reason, Detail: detail,
	})
}

// assign gives the items their fates by the server's answer, and returns those
// that have to be sent again, and why.
func (d *delivery) assign(ctx context.Context, g group, body []byte) (remaining []int, cause, err error) {
	if err := d.intact(ctx); err != nil {
		return nil, nil, err
	}
	if bytes.Contains(body, []byte(`"result":"noop"`)) {
		return nil, nil, errNoop
	}
	if bytes.HasPrefix(body, []byte(`{"errors":false`)) {
		d.outcome.Fates[node.Stored] += int64(len(g.items))
		d.outcome.Replaced += int64(bytes.Count(body, []byte(`"status":200`)))
		return nil, nil, nil
	}
	answers, err := itemAnswers(body, len(g.items))
	if err != nil {
		return nil, nil, err
	}
	var conflicts []int
	for k, i := range g.items {
		switch what, err := d.give(g, i, answers[k]); {
		case err != nil:
			return nil, nil, err
		case what == conflict:
			conflicts = append(conflicts, i)
		case what == left:
			remaining, cause = append(remaining, i), answers[k].refusal()
		}
	}
	contested, err := d.resolve(ctx, g, conflicts)
	if len(contested) > 0 && cause == nil {
		cause = errContested
	}
	return append(remaining, contested...), cause, err
}

var errContested = errors.New("somebody else writes the same documents at this moment")

// given is what an item's answer leads to.
type given uint8

const (
	fated    given = iota
	conflict       // a document is there, and it has to be looked at
	left           // it has to be sent again
)

// give gives an item its fate, if its answer is about one.
func (d *delivery) give(g group, i int, a itemAnswer) (given, error) {
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusCreated:
		d.outcome.Fates[node.Stored]++
		if a.Status == http.StatusOK {
			d.outcome.Replaced++
		}
		return fated, nil
	case a.Status == http.StatusConflict && (d.batch.mode == CreateOnly || !d.isSame(i, a.Error.Reason)):
		return conflict, nil
	case a.Status == http.StatusConflict:
		d.outcome.Fates[g.same()]++
		return fated, nil
	}
	switch c := a.class(); {
	case c == smaller && len(g.items) == 1:
		d.reject(i, ReasonTooLarge, withoutPayload(a.Error.Reason))
	case c == thisRow:
		d.reject(i, ReasonRefused, withoutPayload(a.Error.Type+": "+a.Error.Reason))
	case c == stop:
		return 0, a.refusal()
	default:
		return left, nil
	}
	return fated, nil
}

// isSame tells by the version that the target has, which the reason of the
// conflict names, whether it has this very node. Any other version may be that of
// a deletion, or of a document that a clock that was ahead has left, so that one
// is looked at. Nodes before 1970 all have the version 0.
func (d *delivery) isSame(i int, reason string) bool {
	micros := d.batch.items[i].micros
	const before = "current version ["
	at := strings.LastIndex(reason, before) // the id comes first, and may hold anything
	if at < 0 || micros <= 0 {
		return false
	}
	digits, _, _ := strings.Cut(reason[at+len(before):], "]")
	current, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && current == version(micros)
}

// same is the fate of a node that the target has: an earlier request of these may
// have been carried out without an answer.
func (g group) same() node.Fate {
	if g.uncertain {
		return node.Stored
	}
	return node.AlreadyThere
}
