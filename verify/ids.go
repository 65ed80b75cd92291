package verify

import (
	"context"
	"fmt"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target/evidence"
)

const (
	// idsAtOnce is how many ids one question asks for: where the measured
	// servers stop gaining (280,000 ids/s against one index).
	idsAtOnce = 2000
	// keysPerPart is how many rows one reading of keys takes at most, if they
	// are spread evenly: a second or so.
	keysPerPart = 50_000
	maxParts    = 96
)

// compareIDs compares the ids of every day that is not recorded yet, and for the
// level Sample the payloads of its sample.
func (c *comparison) compareIDs(ctx context.Context) error {
	for _, d := range c.allDays() {
		if c.record.days[d.day.String()] != nil {
			continue
		}
		if c.stopped() {
			return ErrInterrupted
		}
		count := &counted{day: c.emptyDay(d)}
		day := &dayComparison{c.run, d, count, &suspects{run: c.run, judge: judge{c.run}.byIDs, counted: count}, c.newStrata(d)}
		if err := day.compare(ctx); err != nil {
			return fmt.Errorf("verify day %s: %w", d.day, err)
		}
	}
	return nil
}

// dayComparison compares the ids of a day: rows with documents, then documents
// with rows.
type dayComparison struct {
	*run
	scopeDay
	counted  *counted
	suspects *suspects
	strata   *strata // guarded as what is counted
}

func (c *dayComparison) compare(ctx context.Context) error {
	c.Notify(Event{Kind: DayStarted, Day: c.day.String(), Nodes: c.rows})
	before := c.record.findings.total()
	err := inTurn(ctx, c.readAllKeys, (&documents{c}).account, c.suspects.flush, c.compareSample)
	if err != nil {
		return err
	}
	c.Notify(Event{Kind: DayCompared, Day: c.day.String(), Nodes: c.counted.day.Source, Findings: c.record.findings.total() - before})
	return c.record.put(ctx, &c.counted.day)
}

func (c *dayComparison) readAllKeys(ctx context.Context) error {
	return each(ctx, c.Workers, c.cut(checkpoint.Range{From: c.from, To: c.to}, keysPerPart, maxParts), func(ctx context.Context, part checkpoint.Range) error {
		return c.whenCalm(ctx, func() error { return c.readKeys(ctx, part) })
	})
}

// reading is one reading of keys. It counts apart from others, so that a reading
// that broke off leaves nothing behind.
type reading struct {
	*dayComparison
	index    string
	batch    []pick
	strata   *strata
	counted  Day
	suspects []suspect
}

func (c *dayComparison) readKeys(ctx context.Context, part checkpoint.Range) error {
	var r *reading
	begin := func() {
		r = &reading{dayComparison: c, index: c.counted.day.Index, strata: c.newStrata(c.scopeDay)}
	}
	_, err := c.entries(ctx, part, begin, func(e source.Entry) error { return r.add(ctx, e) })
	if err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	c.counted.change(func(d *Day) {
		c.strata.merge(r.strata)
		d.add(&r.counted)
	})
	return c.suspects.add(ctx, r.suspects...)
}

func (r *reading) add(ctx context.Context, e source.Entry) error {
	r.counted.Source++
	r.counted.Moments += uint64(e.Micros)
	r.counted.SourceBytes += e.Bytes
	r.counted.Sizes[sizeClass(e.Bytes)]++
	if r.rejected.has(e.ID, e.Micros) {
		r.counted.Rejected++
		return nil
	}
	r.batch = append(r.batch, pick{string(e.ID), e.Micros, e.Bytes, drawOrder(r.seed, e.ID)})
	if len(r.batch) < idsAtOnce {
		return nil
	}
	return r.look(ctx)
}

// look asks where the batch is behind the alias.
func (r *reading) look(ctx context.Context) error {
	if err := r.through(ctx, 0, func() error { return r.halve(ctx, r.batch) }); err != nil {
		return err
	}
	r.meter.add(int64(len(r.batch)), 0)
	r.batch = r.batch[:0]
	if len(r.suspects) < maxSuspects {
		return nil
	}
	found := r.suspects
	r.suspects = nil
	return r.dayComparison.suspects.add(ctx, found...)
}

// halve asks how often the day's index and all behind the alias have nodes: if
// both have as many as are asked for, each is there once and nowhere else. Where
// that is not so, it continues with either half, down to single nodes. A day's
// index that is not behind the alias shows nothing.
func (r *reading) halve(ctx context.Context, batch []pick) error {
	// A view can have an id twice, and so can a table whose primary key is damaged.
	ids, known := make([]string, 0, len(batch)), make(map[string]bool, len(batch))
	for _, p := range batch {
		if !known[p.id] {
			known[p.id] = true
			ids = append(ids, p.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var own, behind int64
	err := r.ask(ctx, func() (err error) { own, behind, err = evidence.Seen(ctx, r.target, r.index, ids); return err })
	if err != nil {
		return err
	}
	n := int64(len(ids))
	sound := own == n && behind == n
	if sound || n == 1 && own > 0 {
		for _, p := range batch {
			r.strata.offer(p)
			r.counted.PresentIDs.Add(node.IDSum([]byte(p.id), node.Millis(p.micros)))
		}
		r.counted.Present += int64(len(batch))
	}
	switch {
	case sound:
		return nil
	case n == 1, behind == 0:
		for _, p := range batch {
			r.suspects = append(r.suspects, suspect{id: p.id, day: r.day, micros: p.micros})
		}
		return nil
	}
	middle := len(batch) / 2
	if err := r.halve(ctx, batch[:middle]); err != nil {
		return err
	}
	return r.halve(ctx, batch[middle:])
}
