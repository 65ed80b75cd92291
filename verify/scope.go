package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/evidence"
)

// ErrNotMigrated means that the checkpoint records no copy that could be verified.
var ErrNotMigrated = errors.New("nothing was copied with this checkpoint")

// EmptiedError means that the table has not one row, though rows of it were copied:
// there is nothing that could be compared.
type EmptiedError struct {
	Table string
	Nodes int64 // at the target, by the checkpoint
}

func (e *EmptiedError) Error() string {
	return fmt.Sprintf("table %s is empty now, though %s of it are at the target: nothing was compared. "+
		"This is what a table looks like that was emptied because it is migrated; then the last report stays the proof", e.Table, amount.Of(e.Nodes, "node"))
}

// scope is what there is to compare.
type scope struct {
	from, until int64            // rows with timestamps in it, half-open, µs since 1970
	horizon     int64            // where the last pass of the migration ended, µs
	certain     int64            // from here on every payload is compared: the day of the switch, and what was caught up
	switchedAt  int64            // when Sentry began to write to the target; 0: not yet
	marks       checkpoint.Marks // what tells documents of rows whose clock was ahead
	days        []scopeDay
	apart       map[node.Day]why               // days that are not compared
	apartDays   []scopeDay                     // of these, those that have rows
	sentAgain   map[node.Day]checkpoint.Ranges // timestamps of batches that the migration sent more than once

	indices map[string]target.Holding       // behind the alias, by name
	prints  map[string]evidence.Fingerprint // of these, from before anything is compared
}

// why a day is not compared.
type why uint8

const (
	retired why = iota + 1 // out of retention
	expired                // it was when it was passed over, but is not by the retention that was given last
	lost                   // its index is gone, and no retention covers the day
)

// scopeDay is a day that has rows.
type scopeDay struct {
	day      node.Day
	from, to int64 // the part of it that is in scope
	rows     int64
}

// cut cuts a time of the day into parts of about so many rows, if they are spread
// evenly over the day, and a whole day into so many parts at most.
func (d scopeDay) cut(time checkpoint.Range, rows, most int64) (parts []checkpoint.Range) {
	width := (d.to-d.from)/min(d.rows/rows+1, most) + 1
	for from := time.From; from < time.To; from += width {
		parts = append(parts, checkpoint.Range{From: from, To: min(from+width, time.To)})
	}
	return parts
}

// sentrys reports whether a document is Sentry's own: written after the switch,
// and not by the migration for a row whose clock was ahead.
func (s *scope) sentrys(id string, millis int64) bool {
	return s.switchedAt != 0 && millis >= node.Millis(s.switchedAt) && !s.marks.HasDocument(id, millis)
}

// ours reports whether this tool alone fills an index.
func (s *scope) ours(h target.Holding) bool {
	return h.Ours() && h.Daily && (s.switchedAt == 0 || h.Day < node.DayOf(s.switchedAt))
}

// allDays are the days that have rows, and those without any for which this tool
// filled an index.
func (s *scope) allDays() []scopeDay {
	days := slices.Clone(s.days)
	for _, h := range s.indices {
		known := slices.ContainsFunc(s.days, func(d scopeDay) bool { return d.day == h.Day })
		if s.ours(h) && h.Docs > 0 && !known && s.apart[h.Day] == 0 && h.Day.Start() >= s.from && h.Day.End() <= s.until {
			days = append(days, scopeDay{day: h.Day, from: h.Day.Start(), to: h.Day.End()})
		}
	}
	return days
}

// readScope lists the days with rows, counts them, and lists the indices.
func readScope(ctx context.Context, both *sides, o Options, c *checkpoint.Checkpoint) (*scope, error) {
	now, err := answer(ctx, both, both.source.Now)
	if err != nil {
		return nil, err
	}
	var s *scope
	c.View(func(state *checkpoint.State) { s = limits(state, o, now) })
	if s.horizon == 0 {
		return nil, ErrNotMigrated
	}
	sizes, err := answer(ctx, both, func(ctx context.Context) ([]source.DaySize, error) { return both.source.Days(ctx, s.from, s.until) })
	if err != nil {
		return nil, err
	}
	if len(sizes) == 0 {
		if err := refuseEmptied(ctx, both, c); err != nil {
			return nil, err
		}
	}
	found := make([]*scopeDay, len(sizes))
	for i, size := range sizes {
		found[i] = &scopeDay{day: size.Day, from: max(size.Day.Start(), s.from), to: min(size.Day.End(), s.until)}
	}
	err = each(ctx, o.Workers, found, func(ctx context.Context, d *scopeDay) (err error) {
		d.rows, err = both.rows(ctx, d.from, d.to)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		if s.apart[d.day] != 0 {
			s.apartDays = append(s.apartDays, *d)
		} else {
			s.days = append(s.days, *d)
		}
	}
	return s, s.readIndices(ctx, both)
}

// refuseEmptied keeps the documents of a table that was emptied from being called
// findings: each would be one too many.
func refuseEmptied(ctx context.Context, both *sides, c *checkpoint.Checkpoint) error {
	emptied := &EmptiedError{}
	c.View(func(state *checkpoint.State) {
		emptied.Table = state.Binding.Source.Table
		for _, d := range state.Days {
			emptied.Nodes += d.Fates[node.Stored] + d.Fates[node.AlreadyThere] + d.Fates[node.Superseded]
		}
	})
	days, err := answer(ctx, both, func(ctx context.Context) ([]source.DaySize, error) {
		return both.source.Days(ctx, math.MinInt64, math.MaxInt64) // also those that were not asked for
	})
	if err != nil || len(days) > 0 || emptied.Nodes == 0 {
		return err
	}
	return emptied
}

// limits takes from the checkpoint what bounds the comparison, at a time by the
// source's clock.
func limits(state *checkpoint.State, o Options, now int64) *scope {
	s := &scope{
		from: math.MinInt64, until: state.CopyUntil, horizon: state.CopyUntil,
		switchedAt: state.CatchUp.SwitchedAt, marks: state.CatchUp.Written(),
		apart: map[node.Day]why{}, sentAgain: map[node.Day]checkpoint.Ranges{},
	}
	if o.Since != 0 {
		s.from = o.Since.Start()
	}
	if o.Until != math.MaxInt32 {
		s.until = min(s.until, o.Until.Start())
	}
	last := s.horizon
	if s.switchedAt != 0 {
		last = min(last, s.switchedAt)
	}
	s.certain = node.DayOf(last).Start()
	if len(state.CatchUp.Windows) > 0 {
		s.certain = min(s.certain, state.CatchUp.Windows[0].To)
	}
	kept := int64(math.MinInt64) // days that begin before are out of retention
	if state.CatchUp.Retention > 0 {
		kept = now - int64(state.CatchUp.Retention)*24*hour
	}
	for name, record := range state.Days {
		day, err := node.ParseDay(name)
		if err != nil {
			continue // no run wrote it: the checkpoint was checked when it was read
		}
		if reason := whyApart(record, day.Start() < kept); reason != 0 {
			s.apart[day] = reason
		}
		if len(record.SentAgain) > 0 {
			s.sentAgain[day] = slices.Clone(record.SentAgain)
		}
	}
	return s
}

// whyApart says why a day is not compared, or 0.
func whyApart(record *checkpoint.Day, covered bool) why {
	beyond := record.Fates[node.OutOfRetention]
	switch {
	case !record.Lost.IsZero(), !record.Dropped.IsZero() && !covered:
		return lost
	case !record.Dropped.IsZero():
		return retired
	case beyond == 0 || beyond != record.Fates.Sum():
		return 0
	case covered:
		return retired
	}
	return expired
}

func (s *scope) readIndices(ctx context.Context, both *sides) error {
	var holdings []target.Holding
	err := both.ask(ctx, func() (err error) {
		if s.prints, err = evidence.Fingerprints(ctx, both.target); err == nil {
			holdings, err = both.target.Holdings(ctx)
		}
		return err
	})
	s.indices = make(map[string]target.Holding, len(holdings))
	for _, h := range holdings {
		s.indices[h.Name] = h
	}
	return err
}
