package verify

import (
	"context"
	"fmt"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/evidence"
)

// The ends of the time that a document can have, in milliseconds since 1970:
// the years 1 to 9999.
const (
	firstMilli = -62135596800000
	lastMilli  = 253402300800000
)

const (
	minuteMicros = int64(60e6)
	minuteMillis = minuteMicros / 1000
	// maxExact is up to how many timestamps a sum is exact: they have 41 bits, and
	// OpenSearch's sum 53.
	maxExact = 1 << 12
)

// documents accounts for every document of a day's index.
//
//  1. Where the nodes and the documents of a minute differ in number or in the
//     sum of their timestamps, or are too many for an exact sum, each is looked
//     at: a row without a document of its timestamp is suspect, and a document
//     without a row.
//  2. So is every document of another time than the day.
//  3. What is left has no timestamp.
//
// In an index that Sentry writes to, documents without a row are Sentry's own,
// and only minutes that have rows are compared.
type documents struct{ *dayComparison }

func (d *documents) account(ctx context.Context) error {
	result := &d.counted.day
	if _, behind := d.indices[result.Index]; !behind {
		return nil
	}
	var err error
	if result.Documents, err = answer(ctx, d.sides, func(ctx context.Context) (int64, error) { return d.target.Count(ctx, result.Index, nil) }); err != nil {
		return err
	}
	first, end := node.Millis(d.day.Start()), node.Millis(d.day.End())
	if err := d.compareMinutes(ctx, first, end); err != nil {
		return err
	}
	if !result.Ours {
		result.Native = max(result.Documents-result.Present, 0)
		return nil
	}
	for _, at := range [][2]int64{{firstMilli, first}, {end, lastMilli}} {
		if err := d.each(ctx, at[0], at[1], func(c target.Copy) error { return d.suspectDocument(ctx, c) }); err != nil {
			return err
		}
	}
	timed, err := d.count(ctx, firstMilli, lastMilli)
	if err != nil || timed >= result.Documents {
		return err
	}
	return d.record.findings.add(result.Day, Finding{
		Class: Extra, Day: result.Day, Indices: []string{result.Index},
		Known: fmt.Sprintf("%d documents of %d have no timestamp to find them by", result.Documents-timed, result.Documents),
	})
}

// compareMinutes compares the day minute by minute.
func (d *documents) compareMinutes(ctx context.Context, first, end int64) error {
	moments, err := answer(ctx, d.sides, func(ctx context.Context) (map[int64]target.Moment, error) {
		return d.target.Moments(ctx, d.counted.day.Index, first, end)
	})
	if err != nil {
		return err
	}
	for start := first; start < end; start += minuteMillis {
		m := d.strata.minutes[start*1000]
		if m == nil {
			m = &minute{}
		}
		n := moments[start].Count
		sound := n == m.present && n <= maxExact && moments[start].Sum == float64(m.millis)
		if sound || m.present == 0 && !d.counted.day.Ours {
			continue
		}
		if err := d.compareOneByOne(ctx, start, start+minuteMillis); err != nil {
			return err
		}
	}
	return nil
}

// compareOneByOne compares the rows of a time with its documents, in halves if
// there are many.
func (d *documents) compareOneByOne(ctx context.Context, from, to int64) error {
	n, err := d.count(ctx, from, to)
	if err != nil {
		return err
	}
	if n > maxExact && to-from > 1 {
		middle := from + (to-from)/2
		if err := d.compareOneByOne(ctx, from, middle); err != nil {
			return err
		}
		return d.compareOneByOne(ctx, middle, to)
	}
	unexplained := make(map[string]target.Copy)
	err = d.each(ctx, from, to, func(c target.Copy) error { unexplained[c.ID] = c; return nil })
	if err != nil {
		return err
	}
	var alone []suspect
	var explained []string
	rows := checkpoint.Range{From: max(from*1000, d.from), To: min(to*1000, d.to)}
	bad, err := d.entries(ctx, rows, func() { alone, explained = nil, nil }, func(e source.Entry) error {
		c, ok := unexplained[string(e.ID)]
		switch {
		case d.rejected.has(e.ID, e.Micros):
		case ok && c.Millis == node.Millis(e.Micros):
			explained = append(explained, c.ID)
		default:
			alone = append(alone, suspect{id: string(e.ID), day: d.day, micros: e.Micros})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range explained {
		delete(unexplained, id)
	}
	if err := d.suspects.add(ctx, alone...); err != nil || bad > 0 || !d.counted.day.Ours {
		return err // a document can be of a row that cannot be read
	}
	for _, c := range unexplained {
		if err := d.suspectDocument(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (d *documents) suspectDocument(ctx context.Context, c target.Copy) error {
	return d.suspects.add(ctx, suspect{id: c.ID, day: d.day, micros: documentOnly})
}

// count and each are about the documents of a time in the day's index.
func (d *documents) count(ctx context.Context, from, to int64) (int64, error) {
	return answer(ctx, d.sides, func(ctx context.Context) (int64, error) {
		return evidence.CountBetween(ctx, d.target, d.counted.day.Index, from, to)
	})
}

func (d *documents) each(ctx context.Context, from, to int64, visit func(target.Copy) error) error {
	return d.ask(ctx, func() error {
		return d.target.Between(ctx, d.counted.day.Index, from, to, func(copies []target.Copy) error {
			for _, c := range copies {
				if err := visit(c); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
