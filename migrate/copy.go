package migrate

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// batchesPerSlice makes a slice worth a few batches: long enough that the
// last, partly filled one does not matter, short enough that a transaction
// lasts seconds and a crash costs little.
const batchesPerSlice = 4

// copying copies by slices what is missing up to a moment, and seals the days.
type copying struct {
	*indices
	now     int64              // µs
	windows []checkpoint.Range // before the ends of earlier passes, whose late rows are still to be looked for
	counted bool               // what is out of retention was counted by this run

	oldest  int64 // timestamp of the rows that are copied, if ids repeat, µs
	sealing chan *day
}

// run copies the days that have something missing.
//
//  1. The days are found, and refused if they cannot be copied.
//  2. One day after the other is prepared, and cut into slices for the pipeline.
//  3. A day whose slices are done is sealed, while others are copied.
//
// A request to stop ends the second, and what is open goes through to its end.
func (c *copying) run(ctx context.Context) error {
	known := c.ledger.recall()
	days, err := c.find(ctx)
	if err != nil {
		return err
	}
	if err := c.admit(ctx, days); err != nil || len(days) == 0 {
		return err
	}
	c.sealing = make(chan *day, len(days))
	p := &pipeline{run: c.indices.run, young: c.young, known: known, done: func(s *slice) { c.sealing <- s.into.(*day) }}
	var interrupted error
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(c.sealing)
		return p.flow(ctx, func(ctx context.Context, hand func(*slice) error) error {
			err := c.produce(ctx, days, hand)
			if errors.Is(err, ErrInterrupted) {
				interrupted, err = err, nil
			}
			return err
		})
	})
	group.Go(func() error {
		for d := range c.sealing {
			if err := d.seal(ctx); err != nil {
				return wrap(d, err)
			}
		}
		return ctx.Err()
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return interrupted
}

// young reports whether rows beside one of this timestamp may be committed
// after its slice was read: shortly before the end of this pass, or of an
// earlier one whose late rows were not looked for yet.
func (c *copying) young(micros int64) bool {
	for _, w := range c.windows {
		if micros >= w.From && micros < w.To {
			return true
		}
	}
	return micros >= c.now-c.overlap() || c.switched(micros)
}

// find lists the days that have something to be copied or sealed before now, in
// the order of copying, and starts the progress again.
func (c *copying) find(ctx context.Context) ([]*day, error) {
	until := min(c.now, c.Until.Start())
	sizes, err := c.source.Days(ctx, c.Since.Start(), until)
	if err != nil {
		return nil, err
	}
	if c.ours != nil {
		sizes = slices.DeleteFunc(sizes, func(size source.DaySize) bool { return !c.ours(size.Day) })
	}
	if sizes, err = c.withinRetention(ctx, sizes); err != nil {
		return nil, err
	}
	c.progress.begin()
	var days []*day
	for _, size := range sizes {
		if d := c.plan(size, until); d != nil {
			days = append(days, d)
		}
	}
	if !c.OldestFirst {
		slices.Reverse(days)
	}
	return days, nil
}

// plan returns what is to be done for a day, or nil if that is nothing.
func (c *copying) plan(size source.DaySize, until int64) *day {
	d := c.newDay(size.Day, c.now)
	d.planned = size
	var done checkpoint.Day
	c.ledger.View(func(state *checkpoint.State) {
		if recorded, known := state.Days[d.String()]; known {
			done = *recorded
		}
		d.missing = done.Done.Missing(size.Day.Start(), min(size.Day.End(), until))
	})
	c.progress.doneBytes.Add(done.Bytes)
	c.progress.doneNodes.Add(done.Fates.Sum())
	if done.Gone() || len(d.missing) == 0 && (!done.Sealed.IsZero() || !d.complete) {
		c.progress.plannedBytes.Add(done.Bytes)
		c.progress.plannedNodes.Add(done.Fates.Sum())
		return nil
	}
	c.progress.plannedBytes.Add(max(size.Bytes, done.Bytes))
	c.progress.plannedNodes.Add(max(size.Rows, done.Fates.Sum()))
	return d
}

// withinRetention leaves out the days that Sentry's cleanup would drop. Their
// rows are counted instead of copied.
func (c *copying) withinRetention(ctx context.Context, sizes []source.DaySize) ([]source.DaySize, error) {
	var kept []source.DaySize
	for _, size := range sizes {
		if !c.covered(size.Day, c.now) {
			kept = append(kept, size)
			continue
		}
		if c.counted {
			continue
		}
		rows, err := c.source.Count(ctx, size.Day.Start(), size.Day.End())
		if err != nil {
			return nil, err
		}
		err = c.ledger.Update(ctx, func(state *checkpoint.State) {
			fates := &state.Day(size.Day).Fates
			fates[node.OutOfRetention] = 0
			fates[node.OutOfRetention] = max(rows-fates.Sum(), 0)
		})
		if err != nil {
			return nil, err
		}
	}
	c.counted = true
	return kept, c.forgetRetired(ctx, kept)
}

// forgetRetired takes back that days were out of retention: it is longer now,
// and they are copied.
func (c *copying) forgetRetired(ctx context.Context, kept []source.DaySize) error {
	for _, size := range kept {
		if d, _ := c.ledger.day(size.Day); d.Fates[node.OutOfRetention] == 0 || d.Gone() {
			continue
		}
		err := c.ledger.Update(ctx, func(state *checkpoint.State) { state.Day(size.Day).Fates[node.OutOfRetention] = 0 })
		if err != nil {
			return err
		}
	}
	return nil
}

// admit refuses, before anything is read, days whose index would not hold what
// Sentry reads, or would not be found: a template may match only some days. It
// records what is to come, so that `status` can tell what remains, and gives back
// what a crashed run borrowed for other days. These get it back when they are
// sealed or compact.
func (c *copying) admit(ctx context.Context, days []*day) error {
	numbers, ours := make([]node.Day, len(days)), make(map[string]bool, len(days))
	for i, d := range days {
		numbers[i], ours[d.name()] = d.day, true
	}
	if err := c.target.CheckDays(ctx, numbers); err != nil {
		return err
	}
	if len(days) > 0 {
		err := c.ledger.Update(ctx, func(state *checkpoint.State) {
			for _, d := range days {
				state.Day(d.day).Planned = d.planned.Bytes
			}
		})
		if err != nil {
			return err
		}
	}
	if c.Compact {
		for _, n := range c.awaiting() {
			ours[c.target.Backend().IndexOf(n)] = true
		}
	}
	return c.restore(ctx, func(index string) bool { return !ours[index] })
}

func (c *copying) produce(ctx context.Context, days []*day, hand func(*slice) error) error {
	for _, d := range days {
		if c.stopped() {
			return ErrInterrupted
		}
		if err := d.prepare(ctx); err != nil {
			return wrap(d, err)
		}
		found, err := c.measure(ctx, d)
		if err != nil {
			return wrap(d, err)
		}
		d.open.Store(int64(len(found)))
		if len(found) == 0 {
			c.sealing <- d
		}
		for _, s := range found {
			if err := hand(&slice{into: d, open: &d.open, from: s.From, to: s.To, bytes: s.Bytes, cuts: s.Cuts}); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure finds the slices of what is missing of a day, and makes the day's
// part of the progress exact.
func (c *copying) measure(ctx context.Context, d *day) (found []source.Slice, err error) {
	for _, r := range d.missing {
		part, err := c.source.Slices(ctx, r.From, r.To, batchesPerSlice*int64(c.BatchBytes))
		if err != nil {
			return nil, err
		}
		found = append(found, part...)
	}
	var bytes, rows int64
	for _, s := range found {
		bytes += s.Bytes
		if rows += s.Rows; s.Rows > 0 && !c.source.Relation().UniqueID {
			c.oldest = min(c.oldest, s.From)
		}
	}
	done, _ := c.ledger.day(d.day)
	c.progress.plannedBytes.Add(done.Bytes + bytes - max(d.planned.Bytes, done.Bytes))
	c.progress.plannedNodes.Add(done.Fates.Sum() + rows - max(d.planned.Rows, done.Fates.Sum()))
	if d.fresh = rows > 0; d.fresh {
		c.Notify(Event{Kind: DayStarted, Day: d.String(), Index: d.name(), Nodes: rows, Bytes: bytes})
	}
	if !c.OldestFirst {
		slices.Reverse(found)
	}
	return found, nil
}
