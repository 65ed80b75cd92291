package source

import (
	"context"
	"fmt"
	"slices"
)

// Slice is a half-open range of time, with what was
// in it when it was measured.
type Slice struct {
	From, To    int64
	Rows, Bytes int64

	// Cuts are the ids, in the order of their bytes, at which the rows of a
	// slice are divided that time cannot divide: those of one microsecond, such
	// as a load with now() makes. They have no commit of their own: StreamSlice
	// reads the parts one after another, each in a statement that is short.
	Cuts []string
}

// part is what one statement reads of a slice.
type part struct {
	from, to int64
	also     string // a further condition, beginning with "and"
}

// parts divide a slice: every row is in one of them, those with a null id are in
// the first. Ids are compared by their bytes, so no index that an operating
// system's new collation broke serves the comparison.
func (s *Source) parts(span Slice) []part {
	if len(span.Cuts) == 0 {
		return []part{{span.From, span.To, ""}}
	}
	id := s.sql.id + ` collate "C"`
	parts := make([]part, 0, len(span.Cuts)+1)
	low := ` and ("id" is null or `
	for _, cut := range span.Cuts {
		parts = append(parts, part{span.From, span.To, low + id + " < " + textLiteral(cut) + ")"})
		low = " and (" + id + " >= " + textLiteral(cut) + " and "
	}
	return append(parts, part{span.From, span.To, low + "true)"})
}

// bucket is what has timestamps in [start, start+its width).
type bucket struct {
	start, rows, bytes int64
}

// width is a length of time that date_trunc knows.
type width struct {
	name   string
	micros int64
}

// widths are those in which a day is measured, coarse to fine.
func widths() []width {
	return []width{{"minute", 60e6}, {"second", 1e6}, {"milliseconds", 1e3}, {"microseconds", 1}}
}

// Slices divides [from, to), a day or less, into slices of about aimBytes, and
// at most two times that; those that rows of one microsecond make larger have
// Cuts. The slices follow each other without a gap, the first begins at from,
// the last ends at to. Rows are exact at the time of the call, and so are Bytes of a table, at
// the cost of reading the range's rows without their payloads; Bytes of a view
// come from the average, since its data may have to be computed.
func (s *Source) Slices(ctx context.Context, from, to, aimBytes int64) ([]Slice, error) {
	buckets, err := s.measure(ctx, bucketRange{from, to, 2 * aimBytes}, widths())
	if err != nil {
		return nil, err
	}
	spans := []Slice{{From: from, To: to}}
	for _, b := range buckets {
		last := &spans[len(spans)-1]
		if last.Rows > 0 && last.Bytes+b.bytes > aimBytes {
			last.To = b.start
			spans = append(spans, Slice{From: b.start, To: to})
			last = &spans[len(spans)-1]
		}
		last.Rows += b.rows
		last.Bytes += b.bytes
	}
	for i := range spans {
		if spans[i].Bytes > 2*aimBytes && spans[i].Rows > 1 {
			if spans[i].Cuts, err = s.cuts(ctx, spans[i], aimBytes); err != nil {
				return nil, err
			}
		}
	}
	return spans, nil
}

// maxParts bounds how often the keys of a slice are read.
const maxParts = 256

// cuts divides the rows of a slice into parts of about aimBytes.
func (s *Source) cuts(ctx context.Context, span Slice, aimBytes int64) ([]string, error) {
	parts := min(span.Bytes/aimBytes+1, span.Rows, maxParts)
	var cuts []string
	var cut string
	err := s.queryEach(ctx, "cut rows of one moment", s.sql.settings+fmt.Sprintf(
		`select unnest(percentile_disc(array(select n::float8 / %[1]d from generate_series(1, %[1]d - 1) n))
		   within group (order by %[2]s collate "C")) from %[3]s where %[4]s`,
		parts, s.sql.id, s.sql.relation, s.sql.within(span.From, span.To)), func() error {
		cuts = append(cuts, cut)
		return nil
	}, &cut)
	slices.Sort(cuts)
	return slices.Compact(cuts), err // one id can have many rows
}

type bucketRange struct{ from, to, maxBytes int64 }

// measure returns the buckets of the first width that have rows, and instead of
// each that has more than maxBytes, its buckets of the next width. One that
// cannot be measured is one that is full.
func (s *Source) measure(ctx context.Context, r bucketRange, widths []width) (buckets []bucket, err error) {
	var coarse []bucket
	parts := halving{
		width: widths[0].micros,
		read: func(from, to int64) (func() error, error) {
			some, err := s.group(ctx, bucketRange{from, to, r.maxBytes}, widths[0])
			return func() error { coarse = append(coarse, some...); return nil }, err
		},
		alone: func(from int64, _ error) error {
			coarse = append(coarse, bucket{from, 1, r.maxBytes})
			return nil
		},
	}
	if err := parts.span(r.from, r.to); err != nil || len(widths) == 1 {
		return coarse, err
	}
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

func (s *Source) group(ctx context.Context, r bucketRange, w width) (buckets []bucket, err error) {
	bytes := `coalesce(sum(octet_length("data")), 0)` // of a value in TOAST, this reads only the pointer
	if s.relation.Kind == View {
		bytes = fmt.Sprintf("(count(*) * %.3f)::bigint", s.averageBytes())
	}
	var b bucket
	err = s.queryEach(ctx, "measure slices", s.sql.settings+fmt.Sprintf(
		`select date_trunc('%s', "timestamp", 'UTC') as start, count(*), %s from %s where %s group by start order by start`,
		w.name, bytes, s.sql.relation, s.sql.within(r.from, r.to)), func() error {
		buckets = append(buckets, b)
		return nil
	}, micros{&b.start}, &b.rows, &b.bytes)
	return buckets, err
}
