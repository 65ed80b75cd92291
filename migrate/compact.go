package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// compactor merges sealed days to one segment a shard, one after the other, while
// others are copied. Replicas come after: they copy the small form. A day that
// cannot be compacted is told of, and ends nothing.
type compactor struct {
	*indices
	more  chan struct{} // a day was sealed
	last  chan struct{} // closed: no day will be sealed any more
	tried map[node.Day]bool
	loose map[node.Day]bool // days whose second copies can go about half a minute later
}

// wants reports whether a sealed day is to be compacted: only an index that this
// tool made, and nobody else writes to.
func (x *indices) wants(index target.Index) bool { return x.Compact && index.Versioned() }

// awaiting are the days that are sealed and not compact.
func (x *indices) awaiting() (days []node.Day) {
	x.ledger.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			if n, err := node.ParseDay(name); err == nil && d.Stands() && d.Compact.IsZero() && (x.ours == nil || x.ours(n)) {
				days = append(days, n)
			}
		}
	})
	slices.Sort(days)
	if !x.OldestFirst {
		slices.Reverse(days)
	}
	return days
}

// compacting runs phases, and compacts what they seal meanwhile.
func (x *indices) compacting(ctx context.Context, phases func(context.Context) error) error {
	if !x.Compact {
		return phases(ctx)
	}
	c := &compactor{indices: x, more: make(chan struct{}, 1), last: make(chan struct{}), tried: make(map[node.Day]bool), loose: make(map[node.Day]bool)}
	x.sealed = func() {
		select {
		case c.more <- struct{}{}:
		default: // it will look anyway
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(c.last)
		return phases(ctx)
	})
	group.Go(func() error { return c.run(ctx) })
	return group.Wait()
}

// run compacts days until the last one is, or the run is to stop: then the phases
// come to their end first.
func (c *compactor) run(ctx context.Context) error {
	for told := false; ; {
		ended := isClosed(c.last) // before the look: what was sealed until then is seen
		days := slices.DeleteFunc(c.awaiting(), func(n node.Day) bool { return c.tried[n] })
		switch {
		case c.stopped():
			select {
			case <-c.last:
			case <-ctx.Done():
			}
			if len(days) > 0 {
				return ErrInterrupted
			}
			return ctx.Err()
		case len(days) == 0 && ended:
			return nil
		case len(days) == 0:
			select {
			case <-c.more:
			case <-c.Stop:
			case <-c.last:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		case ended && !told:
			told = true
			c.Notify(Event{Kind: Compacting, Nodes: int64(len(days))})
		}
		n, err := c.step(ctx, days)
		switch {
		case errors.Is(err, ErrInterrupted):
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			c.Notify(Event{Kind: Warning, Day: n.String(), Cause: fmt.Sprintf("day %s stays as it was loaded: %s", n, err)})
		}
		c.tried[n] = true
	}
}

// step loosens all days that are not yet, because each of them has to be waited for
// from then on, and compacts the first. It returns the day that this came to.
func (c *compactor) step(ctx context.Context, days []node.Day) (node.Day, error) {
	for _, n := range days {
		if c.loose[n] || c.stopped() {
			continue
		}
		index, there, err := c.target.Daily(ctx, n)
		if err == nil && there && c.wants(index) {
			err = c.target.Loosen(ctx, index)
		}
		if err != nil {
			return n, err
		}
		c.loose[n] = true
	}
	return days[0], c.compact(ctx, days[0])
}

// maxMerges is how often a merge is asked for before an index is left as it is: a
// server that restarts forgets one.
const maxMerges = 3

// compact merges a day's index, and gives back what it has lent until then.
//
//  1. Each shard has two segments at least: step has seen to that.
//  2. About half a minute after the last write the second copy of the payloads can go.
//  3. It is merged in the background of the server, never while requests are held back.
//  4. What the segments say proves it.
func (c *compactor) compact(ctx context.Context, n node.Day) error {
	index, there, err := c.target.Daily(ctx, n)
	record, _ := c.ledger.day(n)
	if err != nil || !there || !c.wants(index) || index.UUID != record.UUID {
		return err
	}
	stored, err := c.merge(ctx, index)
	if errors.Is(err, ErrInterrupted) || ctx.Err() != nil || target.IsGone(err) {
		return err
	}
	loan, _ := c.loanOf(index.Name)
	if back := c.giveBack(ctx, index, loan); back != nil {
		return errors.Join(err, back)
	}
	saved := c.ledger.Update(ctx, func(state *checkpoint.State) {
		delete(state.Borrowed, index.Name)
		if err == nil {
			d := state.Day(n)
			d.Compact, d.Stored = time.Now().UTC(), stored.Bytes
		}
	})
	if err = errors.Join(err, saved); err != nil {
		return err
	}
	c.Notify(Event{Kind: DayCompact, Day: n.String(), Index: index.Name, Bytes: stored.Bytes})
	if record.Bytes >= 1<<20 && float64(stored.Bytes) > secondCopy(index.Codec())*float64(record.Bytes) {
		c.Notify(Event{Kind: Warning, Day: n.String(), Index: index.Name, Cause: fmt.Sprintf(
			"index %s takes %d bytes for %d bytes of payloads: a second copy of them may still be there, and the next merge drops it", index.Name, stored.Bytes, record.Bytes)})
	}
	return nil
}

// secondCopy is how many bytes on disk for each of payload show that a merged index
// has a second copy: it takes 1.01 with LZ4 and 0.77 otherwise without one, 1.9
// and 1.07 with it (docs/benchmark.md).
func secondCopy(codec string) float64 {
	if codec == "default" || codec == "lz4" {
		return 1.4
	}
	return 0.95
}

// mergePause is the pause between two looks at a merge.
const mergePause = time.Second

// merge returns what is left when each shard is one segment.
func (c *compactor) merge(ctx context.Context, index target.Index) (s target.Segments, err error) {
	for asked := 0; ; {
		merging, err := c.target.Merging(ctx, index)
		if err != nil {
			return s, err
		}
		if !merging && asked > 0 {
			if err := c.target.Refresh(ctx, index.Name); err != nil {
				return s, err
			}
			s, err = c.target.Segments(ctx, index)
			if err != nil || s.Most <= 1 {
				return s, err
			}
			if asked == maxMerges {
				return s, fmt.Errorf("index %s has %d segments after %d merges", index.Name, s.Most, asked)
			}
		}
		if !merging {
			settled, err := c.target.Settled(ctx, index)
			if err == nil && settled {
				asked++
				if err = c.Gate.Calm(ctx); err == nil {
					err = c.target.Merge(ctx, index)
				}
			}
			if err != nil {
				return s, err
			}
		}
		if err := c.wait(ctx, mergePause); err != nil {
			return s, err
		}
	}
}
