package source

import (
	"context"
	"fmt"
	"math/big"
	"strconv"
)

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
	// The binary form of a timestamp is microseconds since 2000: EXTRACT would
	// be slower, and before PostgreSQL 14 not exact.
	row, err := s.queryRow(ctx, what, fmt.Sprintf(`set local enable_indexscan = off;
		set local enable_indexonlyscan = off;
		set local enable_bitmapscan = off;
		set local enable_seqscan = on;
		select count(*), count(*) filter (where %[1]s),
			coalesce(sum(('x' || encode(timestamptz_send("timestamp"), 'hex'))::bit(64)::bigint) filter (where %[1]s), 0)
		from %[2]s`, inRange(minMicros, maxMicros), s.sql.relation))
	if err != nil {
		return PlainCount{}, err
	}
	all, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return PlainCount{}, fmt.Errorf("%s: %w", what, err)
	}
	c := PlainCount{}
	if c.Rows, err = strconv.ParseInt(row[1], 10, 64); err != nil {
		return PlainCount{}, fmt.Errorf("%s: %w", what, err)
	}
	sum, ok := new(big.Int).SetString(row[2], 10)
	if !ok {
		return PlainCount{}, fmt.Errorf("%s: the sum of timestamps is %q", what, row[2])
	}
	sum.And(sum, new(big.Int).SetUint64(^uint64(0))) // of a negative number too: two's complement
	c.Sum, c.Unbounded = sum.Uint64()+uint64(c.Rows)*postgresEpoch, all-c.Rows
	return c, nil
}
