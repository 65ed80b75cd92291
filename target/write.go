package target

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Write sends a batch to a daily index and returns when each of its nodes has
// its fate, durably. Nodes that the cluster cannot take now are sent again for
// as long as Config.Patience says. An index that is being loaded is written
// through its LoadingName, and under its own name when another run has sealed it
// meanwhile. ErrDropped says that it is gone, or that another one has its name.
func (t *Target) Write(ctx context.Context, index Index, b *Batch) (Outcome, error) {
	d := &delivery{target: t, index: index, batch: b}
	for waiting := d.groups(); len(waiting) > 0; {
		next := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		halves, err := d.settle(ctx, next)
		if err != nil {
			return d.outcome, fmt.Errorf("write %d nodes to index %s: %w", len(next.items), d.index.Name, err)
		}
		waiting = append(waiting, halves...)
	}
	return d.outcome, nil
}

// settle sends a group until each of its items has a fate, or returns the
// halves of a group that is too large for one request.
func (d *delivery) settle(ctx context.Context, g group) (halves []group, err error) {
	before := d.target.sizes.taken.Load()
	err = d.target.Retry(ctx, func(w *cluster.Waits) (cause, err error) {
		if err := d.intact(ctx); err != nil || len(g.items) == 0 {
			return nil, err
		}
		body := d.batch.part(g.items)
		reply, err := d.target.Bulk(ctx, d.address("errors,"+cluster.ItemFields), body)
		if err != nil {
			return nil, err
		}
		left, cause := g.items, reply.Err
		switch {
		case reply.Err == nil:
			left, cause, err = d.assign(ctx, g, reply.Body)
		case reply.Class == cluster.Split:
			halves = d.split(g, len(body))
			return nil, nil
		case reply.Class != cluster.Retry && reply.Class != cluster.Gone:
			return nil, reply.Err
		}
		if err == nil && IsGone(cause) {
			err = d.reload(ctx)
		}
		if err != nil {
			return nil, err
		}
		if len(left) < len(g.items) {
			*w = cluster.Waits{}
		}
		g.items, g.uncertain = left, g.uncertain || reply.Uncertain
		switch {
		case len(left) == 0:
			d.target.sizes.passed(len(body))
			return nil, nil
		case len(body) > smallBody && heavy(cause) && d.hopeless(ctx, g, *w, before):
			halves = d.split(g, len(body))
			return nil, nil
		}
		d.outcome.SentAgain = true
		return cause, nil
	})
	return halves, err
}

// assign gives the items their fates by the server's answer, and returns those
// that have to be sent again, and why.
func (d *delivery) assign(ctx context.Context, g group, body []byte) (remaining []int, cause, err error) {
	if err := d.intact(ctx); err != nil {
		return nil, nil, err
	}
	if bytes.Contains(body, []byte(`"result":"noop"`)) {
		return nil, nil, cluster.ErrNoop
	}
	if bytes.HasPrefix(body, []byte(`{"errors":false`)) {
		d.outcome.Fates[node.Stored] += int64(len(g.items))
		d.outcome.Replaced += int64(bytes.Count(body, []byte(`"status":200`)))
		return nil, nil, nil
	}
	answers, err := cluster.Items(body, len(g.items))
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
		case what == unsettled:
			remaining, cause = append(remaining, i), answers[k].Refusal()
		}
	}
	contested, err := d.resolve(ctx, g, conflicts)
	if len(contested) > 0 && cause == nil {
		cause = errContested
	}
	return append(remaining, contested...), cause, err
}

// given is what an item's answer leads to.
type given uint8

const (
	fated     given = iota
	conflict        // a document is there, and it has to be looked at
	unsettled       // it has to be sent again
)

// give gives an item its fate, if its answer is about one.
func (d *delivery) give(g group, i int, a cluster.Item) (given, error) {
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
	switch c := a.Class(); {
	case c == cluster.Split && len(g.items) == 1:
		d.reject(i, ReasonTooLarge, cluster.WithoutPayload(a.Error.Reason))
	case c == cluster.Reject:
		d.reject(i, ReasonRefused, cluster.WithoutPayload(a.Error.Type+": "+a.Error.Reason))
	case c == cluster.Stop:
		return 0, a.Refusal()
	default:
		return unsettled, nil
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
