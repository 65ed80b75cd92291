package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// recordGone keeps in mind that a day's index is gone, so that it is never made
// again by itself. Its nodes are out of retention if one covers the day, and
// lost if not.
func (r *run) recordGone(ctx context.Context, n node.Day) (node.Fate, error) {
	now, err := r.Now(ctx)
	if err != nil {
		return 0, err
	}
	index, event := r.target.Backend().IndexOf(n), Event{Kind: Lost, Day: n.String()}
	fate, known := node.Lost, false
	if r.covered(n, now) {
		fate, event.Kind = node.OutOfRetention, Dropped
	}
	err = r.ledger.Update(ctx, func(state *checkpoint.State) {
		record := state.Day(n)
		gone := &record.Lost
		if fate == node.OutOfRetention {
			gone, record.Lost = &record.Dropped, time.Time{}
		} else {
			record.Dropped = time.Time{}
		}
		if known = !gone.IsZero(); !known {
			*gone = time.Now().UTC()
		}
		retire(&record.Fates, fate)
		event.Nodes = record.Fates[fate]
		delete(state.Borrowed, index)
	})
	if event.Index = index; err == nil && !known {
		r.Notify(event)
	}
	return fate, err
}

// retire gives all nodes that were in an index that is gone their fate.
func retire(fates *node.Fates, fate node.Fate) {
	for _, from := range []node.Fate{node.Stored, node.AlreadyThere, node.Superseded, node.OutOfRetention, node.Lost} {
		moved := fates[from]
		fates[from] = 0
		fates[fate] += moved
	}
}

// settleGone looks for daily indices that should be there and are not, and
// judges those again that were found gone before: the retention may be another
// one now, and time passes.
func (r *run) settleGone(ctx context.Context, holdings []target.Holding, now int64) error {
	there := make(map[string]bool, len(holdings))
	for _, h := range holdings {
		there[h.Name] = true
	}
	var judged, doubtful []node.Day
	r.ledger.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			n, err := node.ParseDay(name)
			if err != nil || r.ours != nil && !r.ours(n) {
				continue
			}
			settled, lost := !d.Dropped.IsZero(), !d.Lost.IsZero()
			switch {
			case (settled || lost) && settled != r.covered(n, now): // also if an index has that name again
				judged = append(judged, n)
			case !settled && !lost && atTarget(d.Fates) > 0 && !there[d.Index]:
				doubtful = append(doubtful, n)
			}
		}
	})
	for _, n := range doubtful {
		_, there, err := r.target.Daily(ctx, n)
		if err != nil {
			return err
		}
		if !there {
			judged = append(judged, n)
		}
	}
	for _, n := range judged {
		if _, err := r.recordGone(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// unlessGone returns an error, unless it says that a day's index was dropped at
// this very moment: that is noted.
func (r *run) unlessGone(ctx context.Context, n node.Day, err error) error {
	if !target.IsGone(err) {
		return err
	}
	_, there, looked := r.target.Daily(ctx, n)
	if looked != nil || there {
		return errors.Join(err, looked)
	}
	if r.ledger.filled(n) {
		_, err = r.recordGone(ctx, n)
		return err
	}
	return nil
}

// forgetLost forgets what is recorded of the days that are to be copied again,
// so that this run and the next ones copy them like any other. A day that is
// not lost is left alone: the same command may have begun with it before.
func (r *run) forgetLost(ctx context.Context) error {
	for _, n := range r.CopyAgain {
		if recorded, _ := r.ledger.day(n); recorded.Lost.IsZero() {
			r.Notify(Event{Kind: Warning, Day: n.String(), Cause: fmt.Sprintf("day %s is not lost: there is nothing to copy again", n)})
			continue
		}
		err := r.ledger.Update(ctx, func(state *checkpoint.State) {
			state.Days[n.String()] = &checkpoint.Day{}
			delete(state.Borrowed, r.target.Backend().IndexOf(n))
			state.CatchUp.Swept = min(state.CatchUp.Swept, n.Start()) // an older copy elsewhere was the last one
			maps.DeleteFunc(state.CatchUp.Recent, func(at int64, _ []byte) bool { return node.DayOf(at) == n })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sameIndex reports whether an index is the one that a day's nodes went to, or
// has as many documents, as after a restore from a snapshot. If not, somebody
// dropped that one, and it was made again since.
func (r *run) sameIndex(ctx context.Context, found target.Index) (bool, error) {
	record, _ := r.ledger.day(found.Day)
	if record.UUID == "" || record.UUID == found.UUID {
		return true, nil
	}
	if err := r.target.Refresh(ctx, found.Name); err != nil {
		return false, err
	}
	counted, err := r.target.Count(ctx, found.Name, nil)
	return counted >= record.Fates[node.Stored]+record.Fates[node.AlreadyThere], err
}
