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
	stored, err := c.merge(ctx, index, record.Bytes)
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
	if holdsTwice(stored, index, record.Bytes) {
		c.Notify(Event{Kind: Warning, Day: n.String(), Index: index.Name, Cause: fmt.Sprintf(
			"index %s takes %d bytes for %d bytes of payloads: a second copy of them may still be there, and the next merge drops it", index.Name, stored.Bytes, record.Bytes)})
	}
	return nil
}

// holdsTwice reports whether a merged index of so many bytes of payload still has
// its second copy of each. A small index says nothing by its size.
func holdsTwice(s target.Segments, index target.Index, payload int64) bool {
	return payload >= 1<<20 && float64(s.Bytes) > secondCopy(index.Codec())*float64(payload)
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

const (
	// mergePause is the pause between two looks at a merge.
	mergePause = time.Second
	// settleTime is how long an index may take until its second copies can go. It
	// takes half a minute; a replica that is away holds them for hours.
	settleTime = 15 * time.Minute
)

// merge returns what is left when each shard is one segment, without a second copy
// of its so many bytes of payload if that can be had.
func (c *compactor) merge(ctx context.Context, index target.Index, payload int64) (s target.Segments, err error) {
	for asked := 0; ; asked++ {
		if err := c.settle(ctx, index); err != nil {
			return s, err
		}
		if asked > 0 {
			if s, err = c.merged(ctx, index); err != nil {
				return s, err
			}
			twice := s.Most <= 1 && holdsTwice(s, index, payload)
			switch {
			case s.Most <= 1 && !twice, twice && asked == maxMerges:
				return s, nil
			case asked == maxMerges:
				return s, fmt.Errorf("index %s has %d segments after %d merges", index.Name, s.Most, asked)
			case twice:
				if err := c.target.Loosen(ctx, index); err != nil {
					return s, err
				}
				if err := c.settle(ctx, index); err != nil {
					return s, err
				}
			}
		}
		if err := c.Gate.Calm(ctx); err != nil {
			return s, err
		}
		if err := c.target.Merge(ctx, index); err != nil {
			return s, err
		}
		if err := c.wait(ctx, mergePause); err != nil {
			return s, err
		}
	}
}

// merged looks at an index that was merged.
func (c *compactor) merged(ctx context.Context, index target.Index) (s target.Segments, err error) {
	if err := c.target.Refresh(ctx, index.Name); err != nil {
		return s, err
	}
	return c.target.Segments(ctx, index)
}

// settle waits until no merge is under way and the next would drop second copies.
func (c *compactor) settle(ctx context.Context, index target.Index) error {
	since := time.Now()
	for {
		merging, err := c.target.Merging(ctx, index)
		if err != nil {
			return err
		}
		if merging {
			since = time.Now()
		} else {
			settled, err := c.target.Settled(ctx, index)
			if err != nil || settled {
				return err
			}
		}
		if time.Since(since) > settleTime {
			return fmt.Errorf("index %s keeps second copies of its payloads for a replica since %s: compact it later", index.Name, settleTime)
		}
		if err := c.wait(ctx, mergePause); err != nil {
			return err
		}
	}
}
