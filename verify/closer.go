package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
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

// lookCloser accounts for every document of the day's index.
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
func (p *dayPass) lookCloser(ctx context.Context) error {
	if !p.behind {
		return nil
	}
	err := p.again(ctx, func() (err error) { p.result.Documents, err = p.Target.Count(ctx, p.index); return err })
	if err != nil {
		return err
	}
	if err := p.lookAtMinutes(ctx); err != nil {
		return err
	}
	if !p.result.Ours {
		p.result.Native = max(p.result.Documents-p.result.Present, 0)
		return nil
	}
	for _, s := range []span{{firstMilli, node.Millis(p.day.Start())}, {node.Millis(p.day.End()), lastMilli}} {
		err := p.again(ctx, func() error {
			return p.Target.Between(ctx, p.index, s.from, s.to, func(copies []target.Copy) error {
				return p.suspectDocuments(ctx, copies)
			})
		})
		if err != nil {
			return err
		}
	}
	return p.lookForTimeless(ctx)
}

// lookForTimeless lists documents that no time finds.
func (p *dayPass) lookForTimeless(ctx context.Context) error {
	var timed int64
	err := p.again(ctx, func() (err error) {
		timed, err = p.Target.CountBetween(ctx, p.index, firstMilli, lastMilli)
		return err
	})
	if err != nil || timed >= p.result.Documents {
		return err
	}
	return p.findings.add(p.result.Day, Finding{
		Class: Extra, Day: p.result.Day, Indices: []string{p.index},
		Known: fmt.Sprintf("%d documents of %d have no timestamp to find them by", p.result.Documents-timed, p.result.Documents),
	})
}

// span is a half-open time in milliseconds since 1970.
type span struct{ from, to int64 }

// lookAtMinutes compares the day minute by minute.
func (p *dayPass) lookAtMinutes(ctx context.Context) error {
	var moments map[int64]target.Moment
	from, to := node.Millis(p.day.Start()), node.Millis(p.day.End())
	err := p.again(ctx, func() (err error) { moments, err = p.Target.Moments(ctx, p.index, from, to); return err })
	if err != nil {
		return err
	}
	for start := from; start < to; start += minuteMillis {
		m := p.strata.minutes[start*1000]
		if m == nil {
			m = &minute{}
		}
		n := moments[start].Count
		sound := n == m.present && n <= maxExact && moments[start].Sum == float64(m.millis)
		if sound || m.present == 0 && !p.result.Ours {
			continue
		}
		if err := p.compareMinute(ctx, span{start, start + minuteMillis}); err != nil {
			return err
		}
	}
	return nil
}

// compareMinute compares a minute's rows with its documents, in halves if there
// are many.
func (p *dayPass) compareMinute(ctx context.Context, s span) error {
	var n int64
	err := p.again(ctx, func() (err error) { n, err = p.Target.CountBetween(ctx, p.index, s.from, s.to); return err })
	if err != nil {
		return err
	}
	if n > maxExact && s.to-s.from > 1 {
		middle := s.from + (s.to-s.from)/2
		if err := p.compareMinute(ctx, span{s.from, middle}); err != nil {
			return err
		}
		return p.compareMinute(ctx, span{middle, s.to})
	}
	documents := make(map[string]target.Copy)
	err = p.again(ctx, func() error {
		return p.Target.Between(ctx, p.index, s.from, s.to, func(copies []target.Copy) error {
			for _, c := range copies {
				documents[c.ID] = c
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if bad, err := p.suspectRows(ctx, s, documents); err != nil || bad > 0 || !p.result.Ours {
		return err // a document can be of a row that cannot be read
	}
	return p.suspectDocuments(ctx, slices.Collect(maps.Values(documents)))
}

// suspectRows suspects the rows of a span that have none of the documents with
// their very timestamp, and takes out the documents of the others. It returns
// how many rows cannot be read.
func (p *dayPass) suspectRows(ctx context.Context, s span, documents map[string]target.Copy) (bad int, err error) {
	var alone []suspect
	var explained []string
	rows := source.Slice{From: max(s.from*1000, p.from), To: min(s.to*1000, p.to)}
	bad, err = p.entries(ctx, rows, func() { alone, explained = nil, nil }, func(e source.Entry) error {
		c, ok := documents[string(e.ID)]
		switch {
		case p.rejected.has(e.ID, e.Micros):
		case ok && c.Millis == node.Millis(e.Micros):
			explained = append(explained, c.ID)
		default:
			alone = append(alone, suspect{id: string(e.ID), day: p.day, micros: e.Micros})
		}
		return nil
	})
	if err != nil {
		return bad, err
	}
	for _, id := range explained {
		delete(documents, id)
	}
	return bad, p.suspects.add(ctx, alone...)
}

func (p *dayPass) suspectDocuments(ctx context.Context, copies []target.Copy) error {
	for _, c := range copies {
		if err := p.suspects.add(ctx, suspect{id: c.ID, day: p.day, micros: documentOnly}); err != nil {
			return err
		}
	}
	return nil
}

// locate returns the latest timestamp that the source has for each id.
func (v *Verification) locate(ctx context.Context, ids []string) (map[string]int64, error) {
	var rows map[string]int64
	err := v.again(ctx, func() error {
		rows = make(map[string]int64, len(ids))
		return v.Source.Locate(ctx, ids, func(id []byte, micros int64) error {
			if known, ok := rows[string(id)]; !ok || micros > known {
				rows[string(id)] = micros
			}
			return nil
		})
	})
	return rows, err
}
