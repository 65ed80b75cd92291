package migrate

import (
	"context"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Parts are what a Migration works with. They stay the caller's to close.
type Parts struct {
	Source     *source.Source
	Target     *target.Target
	Checkpoint *checkpoint.Checkpoint
	Rejects    *Rejects
}

// run is what every part of a run works with.
type run struct {
	terms
	source   *source.Source
	target   *target.Target
	ledger   *ledger
	progress *progress
}

// maxTries is how often in a row, without a slice in between, work may fail for
// want of the source before the run gives up: the source's own patience is half
// a minute each time, so after five minutes and more.
const maxTries = 10

// again repeats what was cut short because the source went away: it resumes
// where it was, as another run would.
func (r *run) again(ctx context.Context, work func(context.Context) error) error {
	for try := 1; ; try++ {
		before := r.ledger.commits.Load()
		err := work(ctx)
		if r.ledger.commits.Load() > before {
			try = 1
		}
		if err == nil || ctx.Err() != nil || !source.Retryable(err) || try == maxTries {
			return err
		}
		pause := orderly.Backoff(try)
		r.Notify(Event{Kind: Waiting, Cause: err.Error(), Pause: pause})
		if err := r.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// wait pauses, and ends early when the run is to stop.
func (r *run) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.Stop:
		return ErrInterrupted
	case <-timer.C:
		return nil
	}
}

// newest returns the timestamp of the newest row of each id.
func (r *run) newest(ctx context.Context, ids []string) (map[string]int64, error) {
	rows := make(map[string]int64, len(ids))
	err := r.source.Locate(ctx, ids, func(id []byte, micros int64) error {
		keepNewest(rows, string(id), micros)
		return nil
	})
	return rows, err
}

// keepNewest keeps the newest timestamp of an id.
func keepNewest(rows map[string]int64, id string, micros int64) {
	if known, ok := rows[id]; !ok || micros > known {
		rows[id] = micros
	}
}

// firstSwept is the time before which ids are in one day only as a migration begins
// at now. An id can be in several days already if somebody copied before us, or if
// the source itself repeats ids.
func firstSwept(ctx context.Context, t terms, from *source.Source, to *target.Target, now int64) (int64, error) {
	shared, err := hasDocuments(ctx, to)
	if shared || !from.Relation().UniqueID {
		return checkpoint.NeverSwept, err
	}
	return t.swept(now, now), err
}

// hasDocuments reports whether anything is behind the alias, be it visible to
// searches or not.
func hasDocuments(ctx context.Context, to *target.Target) (bool, error) {
	alias := to.Backend().Alias
	err := to.Refresh(ctx, alias)
	var n int64
	if err == nil {
		n, err = to.Count(ctx, alias, nil)
	}
	if target.IsGone(err) {
		return false, nil
	}
	return n > 0, err
}

// writtenBySentry reports whether Sentry itself wrote a document: it dates from
// after the switch, and is not that of a row whose clock was ahead.
func (r *run) writtenBySentry(c target.Copy) bool {
	return r.SwitchedAt != 0 && c.Millis >= node.Millis(r.SwitchedAt) && !r.ledger.marked(c)
}

// writtenByUs reports whether nobody but this tool can have written a document.
// After a switch whose time is known, that is what Sentry did not write. Before,
// a pass wrote it if its version says so, in the index of a past day: that is the
// timestamp of its row, or follows one that was later; what Sentry writes there
// counts from 1, or is newer than its version. Sentry may write to the other
// indices: there, only what is remembered is known.
func (r *run) writtenByUs(index target.Index, c target.Copy) bool {
	if !index.Ours() {
		return false
	}
	if r.SwitchedAt != 0 {
		return !r.writtenBySentry(c)
	}
	return index.Versioned() && c.Version >= c.Millis*1000 || r.ledger.marked(c)
}

// mirrors reports whether what is deleted at the source goes from the target:
// only while the source is the truth, which the first run after the switch ends.
// It has to follow one from before the switch: a checkpoint that knows nothing may
// be a new one, and the table may be emptied already.
func (r *run) mirrors() (mirrors bool) {
	r.ledger.View(func(state *checkpoint.State) {
		c := state.CatchUp
		mirrors = r.RemoveVanished || r.SwitchedAt == 0 || c.Completed == nil && c.Before || c.Completed != nil && !c.Completed.Switched
	})
	return mirrors
}

// portion is how many ids one look-up asks for.
const portion = 1000

func idsOf(copies []target.Copy) []string {
	ids := make([]string, len(copies))
	for i, c := range copies {
		ids[i] = c.ID
	}
	return ids
}
