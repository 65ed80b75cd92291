package source

import (
	"context"
	"fmt"
	"strconv"
)

// Slice is a half-open range of time, in microseconds since 1970, with what was
// in it when it was measured.
type Slice struct {
	From, To    int64
	Rows, Bytes int64
}

// bucket is what has timestamps in [start, start+width of its unit).
type bucket struct {
	start, rows, bytes int64
}

// unit is a width that date_trunc knows.
type unit struct {
	name   string
	micros int64
}

// units returns the widths in which a day is measured, coarse to fine.
func units() []unit {
	return []unit{{"minute", 60e6}, {"second", 1e6}, {"milliseconds", 1e3}, {"microseconds", 1}}
}

// Slices divides [from, to), a day or less, into slices of about aimBytes, and
// at most two times that unless rows of one microsecond are more. The slices
// follow each other without a gap, the first begins at from, the last ends at
// to. Rows are exact at the time of the call, and so are Bytes of a table, at
// the cost of reading the range's rows without their payloads; Bytes of a view
// come from the average, since its data may have to be computed.
func (s *Source) Slices(ctx context.Context, from, to, aimBytes int64) ([]Slice, error) {
	buckets, err := s.measure(ctx, bucketRange{from, to, 2 * aimBytes}, units())
	if err != nil {
		return nil, err
	}
	slices := []Slice{{From: from, To: to}}
	for _, b := range buckets {
		last := &slices[len(slices)-1]
		if last.Rows > 0 && last.Bytes+b.bytes > aimBytes {
			last.To = b.start
			slices = append(slices, Slice{From: b.start, To: to})
			last = &slices[len(slices)-1]
		}
		last.Rows += b.rows
		last.Bytes += b.bytes
	}
	return slices, nil
}

type bucketRange struct{ from, to, maxBytes int64 }

// measure returns the buckets of the first unit that have rows, and instead of
// each that has more than maxBytes, its buckets of the next unit.
func (s *Source) measure(ctx context.Context, r bucketRange, widths []unit) ([]bucket, error) {
	coarse, err := s.group(ctx, r, widths[0])
	if err != nil || len(widths) == 1 {
		return coarse, err
	}
	var buckets []bucket
	for _, b := range coarse {
		if b.bytes <= r.maxBytes || b.rows == 1 {
			buckets = append(buckets, b)
			continue
		}
		inner := bucketRange{max(b.start, r.from), min(b.start+widths[0].micros, r.to), r.maxBytes}
		fine, err := s.measure(ctx, inner, widths[1:])
		if err != nil {
			return nil, err
		}
		buckets = append(buckets, fine...)
	}
	return buckets, nil
}

func (s *Source) group(ctx context.Context, r bucketRange, width unit) ([]bucket, error) {
	const what = "measure slices"
	bytes := `coalesce(sum(octet_length("data")), 0)` // of a value in TOAST, this reads only the pointer
	if s.relation.Kind == View {
		bytes = fmt.Sprintf("(count(*) * %.3f)::bigint", s.averageBytes())
	}
	results, err := s.query(ctx, what, s.sql.settings+fmt.Sprintf(
		`select date_trunc('%s', "timestamp", 'UTC') as start, count(*), %s from %s where %s group by start order by start`,
		width.name, bytes, s.sql.relation, inRange(r.from, r.to)))
	if err != nil {
		return nil, err
	}
	var buckets []bucket
	for _, row := range results[len(results)-1] {
		b, err := parseBucket(row)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		buckets = append(buckets, b)
	}
	return buckets, nil
}

func parseBucket(row []string) (b bucket, err error) {
	if b.start, err = parseTimestamp(row[0]); err != nil {
		return b, err
	}
	if b.rows, err = strconv.ParseInt(row[1], 10, 64); err != nil {
		return b, err
	}
	b.bytes, err = strconv.ParseInt(row[2], 10, 64)
	return b, err
}
