package verify

import (
	"context"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// scope is what there is to compare.
type scope struct {
	from, until int64            // rows with timestamps in it, half-open, µs since 1970
	certain     int64            // from here on every payload is compared: the day of the switch, and what was caught up
	marks       checkpoint.Marks // what tells documents of rows whose clock was ahead
	switchedAt  int64            // when Sentry began to write to the target; 0: not yet
	days        []scopeDay
	indices     map[string]target.Holding      // behind the alias, by name
	prints      map[string]target.Fingerprint  // of these, from before anything is compared
	apart       map[node.Day]why               // days that are not compared
	apartDays   []scopeDay                     // of these, those that have rows
	sentAgain   map[node.Day]checkpoint.Ranges // timestamps of batches that the migration sent more than once
	planned     int64                          // rows of all days
}

// why a day is not compared.
type why uint8

const (
	retired why = iota + 1 // out of retention
	expired                // it was when it was passed over, but is not by the retention that was given last
	lost                   // its index is gone, and no retention covers the day
)

// sentrys reports whether a document is Sentry's own: written after the switch,
// and not by the migration for a row whose clock was ahead.
func (s *scope) sentrys(id string, millis int64) bool {
	return s.switchedAt != 0 && millis >= node.Millis(s.switchedAt) && !s.marks.HasDocument(id, millis)
}

// print returns the fingerprint of an index, or nil.
func (s *scope) print(index string) *target.Fingerprint {
	if print, ok := s.prints[index]; ok {
		return &print
	}
	return nil
}

// ours reports whether this tool alone fills an index.
func (s *scope) ours(h target.Holding) bool {
	return h.Ours && !h.Origin.Shared && h.Daily && (s.switchedAt == 0 || h.Day < node.DayOf(s.switchedAt))
}

// scopeDay is a day that has rows.
type scopeDay struct {
	day      node.Day
	from, to int64 // the part of it that is in scope
	rows     int64
}

// maxCertain is how many nodes of a day the certainty strata may hold, but for
// the ends of slices.
func (s *scope) maxCertain(d scopeDay) int {
	if len(s.sentAgain[d.day]) == 0 {
		return maxCertain
	}
	return maxCertain + int(min(maxAgain, d.rows))
}

// readScope lists the days with rows, counts them, and lists the indices.
func (v *Verification) readScope(ctx context.Context) (scope, error) {
	var s scope
	var now int64
	err := v.again(ctx, func() (err error) { now, err = v.Source.Now(ctx); return err })
	if err != nil {
		return s, err
	}
	v.Checkpoint.View(func(state *checkpoint.State) { s = limits(state, v.options, now) })
	if s.until == 0 {
		return s, notMigrated()
	}
	if v.options.Until != math.MaxInt32 {
		s.until = min(s.until, v.options.Until.Start())
	}
	if err := v.countDays(ctx, &s); err != nil {
		return s, err
	}
	return s, v.readIndices(ctx, &s)
}

// limits takes from the checkpoint what bounds the comparison, at a time by the
// source's clock.
func limits(state *checkpoint.State, options Options, now int64) scope {
	s := scope{
		from: math.MinInt64, until: state.CopyUntil, switchedAt: state.CatchUp.SwitchedAt, marks: state.CatchUp.Written(),
		apart: map[node.Day]why{}, sentAgain: map[node.Day]checkpoint.Ranges{},
	}
	if options.Since != 0 {
		s.from = options.Since.Start()
	}
	last := state.CopyUntil
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

// horizon is where the last pass of the migration ended.
func (v *Verification) horizon() (until int64) {
	v.Checkpoint.View(func(state *checkpoint.State) { until = state.CopyUntil })
	return until
}

func (v *Verification) countDays(ctx context.Context, s *scope) error {
	var found []scopeDay
	err := v.again(ctx, func() error {
		sizes, err := v.Source.Days(ctx, s.from, s.until)
		found = found[:0]
		for _, size := range sizes {
			found = append(found, scopeDay{day: size.Day, from: max(size.Day.Start(), s.from), to: min(size.Day.End(), s.until)})
		}
		return err
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(v.options.Workers)
	for i := range found {
		group.Go(func() error {
			return v.again(ctx, func() (err error) {
				found[i].rows, err = v.Source.Count(ctx, found[i].from, found[i].to)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, d := range found {
		if s.apart[d.day] != 0 {
			s.apartDays = append(s.apartDays, d)
			continue
		}
		s.planned += d.rows
		s.days = append(s.days, d)
	}
	return nil
}

func (v *Verification) readIndices(ctx context.Context, s *scope) error {
	var holdings []target.Holding
	err := v.again(ctx, func() (err error) {
		if s.prints, err = v.Target.Fingerprints(ctx); err == nil {
			holdings, err = v.Target.Holdings(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.indices = make(map[string]target.Holding, len(holdings))
	for _, h := range holdings {
		s.indices[h.Name] = h
	}
	return nil
}

// rowless lists the indices that this tool filled for days in scope that have
// no rows any more.
func (s scope) rowless() (days []scopeDay) {
	known := make(map[node.Day]bool)
	for _, d := range s.days {
		known[d.day] = true
	}
	for _, h := range s.indices {
		if s.ours(h) && h.Docs > 0 && !known[h.Day] && s.apart[h.Day] == 0 && h.Day.Start() >= s.from && h.Day.End() <= s.until {
			days = append(days, scopeDay{day: h.Day, from: h.Day.Start(), to: h.Day.End()})
		}
	}
	return days
}
