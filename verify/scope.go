package verify

import (
	"context"
	"math"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// scope is what there is to compare.
type scope struct {
	from, until int64 // rows with timestamps in it, half-open, µs since 1970
	certain     int64 // from here on every payload is compared: the day of the switch, and what was caught up
	days        []scopeDay
	indices     map[string]target.Holding // behind the alias, by name
	foreign     []string                  // of these, the ones that this tool did not fill alone
	fresh       int64                     // rows that came after the last pass of the migration
	retired     map[node.Day]bool         // days beyond retention, which were not copied
	retiredRows int64
	sentAgain   map[node.Day]checkpoint.Ranges // timestamps of batches that the migration sent more than once
	planned     int64                          // rows of all days
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
	v.Checkpoint.View(func(state *checkpoint.State) { s = limits(state, v.options) })
	if s.until == 0 {
		return s, notMigrated()
	}
	if v.options.Until != math.MaxInt32 {
		s.until = min(s.until, v.options.Until.Start())
	}
	if err := v.countDays(ctx, &s); err != nil {
		return s, err
	}
	err := v.again(ctx, func() (err error) { s.fresh, err = v.Source.Count(ctx, v.horizon(), math.MaxInt64); return err })
	if err != nil {
		return s, err
	}
	return s, v.readIndices(ctx, &s)
}

// limits takes from the checkpoint what bounds the comparison.
func limits(state *checkpoint.State, options Options) scope {
	s := scope{from: math.MinInt64, until: state.CopyUntil, retired: map[node.Day]bool{}, sentAgain: map[node.Day]checkpoint.Ranges{}}
	if options.Since != 0 {
		s.from = options.Since.Start()
	}
	last := state.CopyUntil
	if state.CatchUp.SwitchedAt != 0 {
		last = min(last, state.CatchUp.SwitchedAt)
	}
	s.certain = node.DayOf(last).Start()
	if len(state.CatchUp.Edges) > 0 {
		s.certain = min(s.certain, state.CatchUp.Edges[0])
	}
	for name, record := range state.Days {
		day, err := node.ParseDay(name)
		if err != nil {
			continue // no run wrote it: the checkpoint was checked when it was read
		}
		if beyond := record.Fates[node.OutOfRetention]; beyond > 0 && beyond == record.Fates.Sum() {
			s.retired[day] = true
		}
		if len(record.SentAgain) > 0 {
			s.sentAgain[day] = slices.Clone(record.SentAgain)
		}
	}
	return s
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
		if s.retired[d.day] {
			s.retiredRows += d.rows
			continue
		}
		s.planned += d.rows
		s.days = append(s.days, d)
	}
	return nil
}

func (v *Verification) readIndices(ctx context.Context, s *scope) error {
	var holdings []target.Holding
	err := v.again(ctx, func() (err error) { holdings, err = v.Target.Holdings(ctx); return err })
	if err != nil {
		return err
	}
	s.indices = make(map[string]target.Holding, len(holdings))
	for _, h := range holdings {
		s.indices[h.Name] = h
		if !h.Ours || !h.Daily {
			s.foreign = append(s.foreign, h.Name)
		}
	}
	return nil
}

// others names the foreign indices but own, for a request, or is "".
func (s scope) others(own string) string {
	var names []string
	for _, name := range s.foreign {
		if name != own {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// rowless lists the indices that this tool filled for days in scope that have
// no rows any more.
func (s scope) rowless() (days []scopeDay) {
	known := make(map[node.Day]bool)
	for _, d := range s.days {
		known[d.day] = true
	}
	for _, h := range s.indices {
		if h.Ours && h.Daily && h.Docs > 0 && !known[h.Day] && !s.retired[h.Day] && h.Day.Start() >= s.from && h.Day.End() <= s.until {
			days = append(days, scopeDay{day: h.Day, from: h.Day.Start(), to: h.Day.End()})
		}
	}
	return days
}
