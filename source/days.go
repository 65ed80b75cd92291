package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// DaySize is a day that has rows, with the planner's idea of how much it has.
type DaySize struct {
	Day   node.Day
	Rows  int64 // -1 where the relation has no statistics
	Bytes int64 // as stored

	Unreadable error // why the server cannot read the day's first row; others may be readable
}

// explainsAtOnce bounds the length of one message and the time of one transaction.
const explainsAtOnce = 100

// Days returns the days with at least one row in [from, to), oldest first. Their
// sizes are estimates; no row is counted.
func (s *Source) Days(ctx context.Context, from, to int64) ([]DaySize, error) {
	if s.sql.only != nil {
		return s.onlyDays(from, to), nil
	}
	sizes, err := s.findDays(ctx, from, to)
	if err != nil || len(sizes) == 0 {
		return nil, err
	}
	for i := range sizes {
		sizes[i].Rows, sizes[i].Bytes = -1, s.relation.Bytes/int64(len(sizes))
	}
	if s.relation.Rows <= 0 {
		return sizes, nil
	}
	ranges := []string{inRange(from, to)}
	for _, size := range sizes {
		ranges = append(ranges, inRange(max(size.Day.Start(), from), min(size.Day.End(), to)))
	}
	rows, err := s.estimate(ctx, ranges)
	if err != nil {
		return nil, err
	}
	spread(sizes, rows[0], rows[1:])
	for i := range sizes {
		sizes[i].Bytes = int64(float64(sizes[i].Rows) * s.averageBytes())
	}
	return sizes, nil
}

// onlyDays are the days of the slices that are read.
func (s *Source) onlyDays(from, to int64) (sizes []DaySize) {
	for _, slice := range s.sql.only {
		day := node.DayOf(slice.From)
		if slice.From < from || slice.To > to {
			continue
		}
		if len(sizes) == 0 || sizes[len(sizes)-1].Day != day {
			sizes = append(sizes, DaySize{Day: day})
		}
		last := &sizes[len(sizes)-1]
		last.Rows, last.Bytes = last.Rows+slice.Rows, last.Bytes+slice.Bytes
	}
	return sizes
}

// spread divides total among the days in proportion to rows. The planner's
// histogram also gives rows to the days between them, which have none.
func spread(sizes []DaySize, total float64, rows []float64) {
	sum := 0.0
	for _, r := range rows {
		sum += r
	}
	for i, r := range rows {
		sizes[i].Rows = max(int64(r*total/max(sum, 1)), 1)
	}
}

// findDays takes a day that cannot be looked at for one that has rows.
func (s *Source) findDays(ctx context.Context, from, to int64) (days []DaySize, err error) {
	parts := halving{
		width: node.Day(1).Start(),
		read: func(from, to int64) (func() error, error) {
			found, err := s.askDays(ctx, from, to)
			return func() error { days = append(days, found...); return nil }, err
		},
		alone: func(from int64, err error) error {
			if !brokenPage(err) {
				return err
			}
			days = append(days, DaySize{Day: node.DayOf(max(from, minMicros)), Unreadable: err})
			return nil
		},
	}
	err = parts.span(from, to)
	return days, err
}

// askDays skips from the first row of a day to the first row after it: one
// index probe for each day. Without an index it reads every row's timestamp
// once, though no payload.
func (s *Source) askDays(ctx context.Context, from, to int64) ([]DaySize, error) {
	sql := fmt.Sprintf(`select distinct date_trunc('day', "timestamp", 'UTC') as day from %s where %s order by day`,
		s.sql.relation, inRange(from, to))
	if s.relation.TimestampIndexed {
		sql = fmt.Sprintf(`with recursive days(day) as (
			  select date_trunc('day', min("timestamp"), 'UTC') from %[1]s where %[2]s
			union all
			  select (select date_trunc('day', min("timestamp"), 'UTC') from %[1]s
			          where "timestamp" >= days.day + interval '24 hours' and %[2]s)
			  from days where days.day is not null
			) select day from days where day is not null`, s.sql.relation, inRange(from, to))
	}
	var days []DaySize
	var start int64
	err := s.queryEach(ctx, "find days", s.sql.settings+sql, func() error {
		days = append(days, DaySize{Day: node.DayOf(start)})
		return nil
	}, micros{&start})
	return days, err
}

// estimate returns the planner's number of rows for each condition.
func (s *Source) estimate(ctx context.Context, conditions []string) ([]float64, error) {
	var rows []float64
	for part := range slices.Chunk(conditions, explainsAtOnce) {
		var sql strings.Builder
		for _, condition := range part {
			fmt.Fprintf(&sql, "explain (format json) select 1 from %s where %s;\n", s.sql.relation, condition)
		}
		plans, err := s.explain(ctx, s.sql.relation, sql.String())
		if err != nil {
			return nil, err
		}
		if len(plans) != len(part) {
			return nil, fmt.Errorf("estimate days: %d plans for %d conditions", len(plans), len(part))
		}
		for _, plan := range plans {
			rows = append(rows, plan.Rows)
		}
	}
	return rows, nil
}

// defaultNodeBytes stands in for the average of a relation that was never
// analysed: nodes have 8 to 40 kB in the field.
const defaultNodeBytes = 16 << 10

// averageBytes is what one row takes in storage.
func (s *Source) averageBytes() float64 {
	if s.relation.Rows <= 0 {
		return defaultNodeBytes
	}
	return float64(s.relation.Bytes) / float64(s.relation.Rows)
}

// Bounds returns the first and the last timestamp,
// of the rows that have one in the years 0001 to 9999; ok is false if none has.
func (s *Source) Bounds(ctx context.Context) (first, last int64, ok bool, err error) {
	err = s.queryRow(ctx, "find first and last timestamp", s.sql.settings+fmt.Sprintf(
		`select first, last, first is not null from (
		   select (select min("timestamp") from %[1]s where %[2]s) as first, (select max("timestamp") from %[1]s where %[2]s) as last) bounds`,
		s.sql.relation, inRange(minMicros, maxMicros)), micros{&first}, micros{&last}, &ok)
	return first, last, ok, err
}
