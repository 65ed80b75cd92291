package source

import (
	"context"
	"fmt"
	"maps"
	"math/big"
)

// Count counts the rows of [from, to). It reads no payload. What cannot be read
// in a microsecond counts as one.
func (s *Source) Count(ctx context.Context, from, to int64) (total int64, err error) {
	a := &apart{Source: s, Apart: Apart{Bad: func(Bad) error { total++; return nil }}}
	err = a.span(from, to, func(from, to int64) (func() error, error) {
		var n int64
		err := s.queryRow(ctx, "count rows", s.sql.settings+"select count(*) from "+s.sql.relation+" where "+s.sql.within(from, to), &n)
		return func() error { total += n; return nil }, err
	})
	return total, err
}

// Moment is what has its timestamp within one minute.
type Moment struct {
	Count      int64
	Sum        float64 // of the timestamps, in milliseconds since 1970
	Unreadable bool    // the server cannot read some of its rows, so that it is not known which there are
}

// Moments counts the rows of [from, to) and sums their
// timestamps, by minute, keyed by its first microsecond. A row too many and
// another too few do not cancel out in a sum, as they do in a count, nor does a
// row that was rewritten. It reads no payload.
func (s *Source) Moments(ctx context.Context, from, to int64) (map[int64]Moment, error) {
	all := make(map[int64]Moment)
	parts := halving{
		width: minuteMicros,
		read: func(from, to int64) (func() error, error) {
			some, start, m := make(map[int64]Moment), int64(0), Moment{}
			err := s.queryEach(ctx, "sum timestamps by minute", s.sql.settings+fmt.Sprintf(
				`select date_trunc('minute', "timestamp", 'UTC') as start, count(*), sum(floor(extract(epoch from "timestamp") * 1000))
				 from %s where %s group by start`, s.sql.relation, s.sql.within(from, to)),
				func() error { some[start] = m; return nil }, micros{&start}, &m.Count, &m.Sum)
			return func() error { maps.Copy(all, some); return nil }, err
		},
		alone: func(from int64, err error) error {
			if !brokenPage(err) {
				return err
			}
			all[from-(from%minuteMicros+minuteMicros)%minuteMicros] = Moment{Unreadable: true}
			return nil
		},
	}
	err := parts.span(from, to)
	return all, err
}

const minuteMicros = 60e6

// PlainCount is what the relation has, by a reading that rests on no index.
type PlainCount struct {
	Rows      int64  // with a timestamp in the years 0001 to 9999, which a range can hold
	Sum       uint64 // of their timestamps in microseconds since 1970, modulo 2^64 in two's complement
	Unbounded int64  // all others: those that the method Unbounded hands over
}

// PlainCount counts every row in one statement that reads the tables as they lie
// on disk: an index that lacks rows, as seen after libc upgrades and REINDEX
// CONCURRENTLY, cannot hide any from it. It reads no payload.
func (s *Source) PlainCount(ctx context.Context) (PlainCount, error) {
	const what = "count rows without an index"
	var c PlainCount
	var all int64
	var text string
	// The binary form of a timestamp is microseconds since 2000: EXTRACT would
	// be slower, and before PostgreSQL 14 not exact.
	err := s.queryRow(ctx, what, fmt.Sprintf(`set local enable_indexscan = off;
		set local enable_indexonlyscan = off;
		set local enable_bitmapscan = off;
		set local enable_seqscan = on;
		select count(*), count(*) filter (where %[1]s),
			coalesce(sum(('x' || encode(timestamptz_send("timestamp"), 'hex'))::bit(64)::bigint) filter (where %[1]s), 0)
		from %[2]s`, inRange(minMicros, maxMicros), s.sql.relation), &all, &c.Rows, &text)
	if err != nil {
		return PlainCount{}, err
	}
	sum, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return PlainCount{}, fmt.Errorf("%s: the sum of timestamps is %q", what, text)
	}
	sum.And(sum, new(big.Int).SetUint64(^uint64(0))) // of a negative number too: two's complement
	c.Sum, c.Unbounded = sum.Uint64()+uint64(c.Rows)*postgresEpoch, all-c.Rows
	return c, nil
}
