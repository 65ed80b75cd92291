package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Repair does something about findings, and counts what it did. Nil says that it
// changed nothing.
type Repair func(context.Context, *Subject) (done map[string]int64, err error)

// Subject is what a repair is about: the findings, and what both sides have of
// their nodes now.
type Subject struct {
	Target     *target.Target
	SwitchedAt int64       // when Sentry began to write to the target, µs since 1970; 0: not yet
	Notify     func(Event) // of what a repair is about to do
	run        *run
}

// repair has the findings repaired, and compares again what they were about.
func (c *comparison) repair(ctx context.Context) (err error) {
	if c.Repair == nil || c.record.findings.total() == 0 {
		return nil
	}
	if c.repairs, err = c.Repair(ctx, &Subject{c.target, c.switchedAt, c.Notify, c.run}); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if c.repairs == nil {
		return nil
	}
	before, err := c.record.findings.setAside()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, before.remove()) }()
	return inTurn(ctx,
		func(ctx context.Context) error { return c.forgetRepaired(ctx, before) },
		func(ctx context.Context) error { return c.readIndices(ctx, c.sides) },
		c.compareIDs,
		func(ctx context.Context) error { return c.comparePayloadsOf(ctx, before) },
		c.recordFindings)
}

// forgetRepaired forgets the findings, and the days that they were about.
func (c *comparison) forgetRepaired(ctx context.Context, before *findings) error {
	days := make(map[string]bool)
	err := before.each(func(f Finding) error {
		days[f.Day] = true
		for _, index := range f.Indices {
			if day, ok := c.target.Backend().DayOf(index); ok {
				days[day.String()] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.record.forget(ctx, days, func(v *checkpoint.Verify) { v.Findings, v.Repaired = 0, true })
	if err != nil {
		return err
	}
	err = c.record.Update(ctx, func(s *checkpoint.State) {
		for name := range days {
			if d := s.Days[name]; d != nil {
				d.Digest = nil // of what was there before
			}
		}
	})
	if err != nil {
		return err
	}
	for name, all := range c.record.kept {
		all.Defects = 0 // counted again
		c.record.kept[name] = all
	}
	return c.record.findings.reset()
}

// comparePayloadsOf compares the payloads that findings were about: those that are
// all compared already are not compared again.
func (c *comparison) comparePayloadsOf(ctx context.Context, before *findings) error {
	if c.Level == IDs {
		return nil
	}
	queue := &suspects{run: c.run, judge: judge{c.run}.byPayloads, counted: &counted{}}
	err := before.each(func(f Finding) error {
		day, err := node.ParseDay(f.Day)
		if err != nil || f.ID == "" || f.Class == Extra {
			//lint:ignore nilerr it has no row to compare with
			return nil
		}
		return queue.add(ctx, suspect{id: f.ID, day: day})
	})
	if err != nil {
		return err
	}
	return queue.flush(ctx)
}

func (c *comparison) recordFindings(ctx context.Context) error {
	size, err := c.record.findings.sync()
	if err != nil {
		return err
	}
	return c.record.Update(ctx, func(s *checkpoint.State) { s.Verify.Findings = size })
}

// Each hands over the findings.
func (s *Subject) Each(visit func(Finding) error) error { return s.run.record.findings.each(visit) }

// Copies returns the documents that a search in an index or alias finds, by id.
func (s *Subject) Copies(ctx context.Context, index string, ids []string) (map[string][]target.Copy, error) {
	return s.run.copies(ctx, index, ids)
}

// Rows reads the newest row of each id. Copies are those behind the alias, whose
// versions lead to rows that a damaged index of the ids does not lead to.
func (s *Subject) Rows(ctx context.Context, ids []string, copies map[string][]target.Copy) (map[string]node.Node, error) {
	list := make([]suspect, len(ids))
	for i, id := range ids {
		list[i].id = id
	}
	newest, err := judge{s.run}.newest(ctx, list, copies)
	if err != nil {
		return nil, err
	}
	rows, _, err := s.run.fetch(ctx, ids, newest)
	return rows, err
}

// Copied reports whether the migration has to have copied a row: the last pass knew
// it, and it was not rejected.
func (s *Subject) Copied(row node.Node) bool {
	return row.Micros < s.run.horizon && !s.run.rejected.has(row.ID, row.Micros)
}

// Sentrys reports whether Sentry itself wrote a document since the switch.
func (s *Subject) Sentrys(c target.Copy) bool { return s.run.sentrys(c.ID, c.Millis) }

// Readable reports whether Sentry can read what is written to a day's index, and
// the day is not settled as gone.
func (s *Subject) Readable(day node.Day) bool {
	holding, behind := s.run.indices[s.Target.Backend().IndexOf(day)]
	return behind && holding.Problem() == "" && s.run.apart[day] == 0
}
