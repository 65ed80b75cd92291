package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// The ends of the time that a document can have, in milliseconds since 1970:
// the years 1 to 9999.
const (
	firstMilli = -62135596800000
	lastMilli  = 253402300800000
)

// lookCloser accounts for every document of the day's index.
//
//  1. Minutes in which the index has more documents than nodes that are there
//     are looked into: what has no row with that very timestamp is suspect.
//  2. So is everything outside the day.
//  3. If that does not explain how many documents there are too many, every
//     document is looked at.
//  4. What is left has no timestamp, and no row that it could belong to.
//
// In an index that Sentry writes to, documents without a row are Sentry's own.
func (p *dayPass) lookCloser(ctx context.Context) error {
	if !p.behind {
		return nil
	}
	err := p.again(ctx, func() (err error) { p.result.Documents, err = p.Target.Count(ctx, p.index); return err })
	if err != nil {
		return err
	}
	excess := p.result.Documents - p.result.Present
	if !p.result.Ours {
		p.result.Native = max(excess, 0)
		return nil
	}
	found, err := p.lookAtMinutes(ctx)
	if err != nil {
		return err
	}
	outside := []span{{firstMilli, node.Millis(p.day.Start())}, {node.Millis(p.day.End()), lastMilli}}
	for _, s := range outside {
		n, err := p.lookAt(ctx, s)
		if err != nil {
			return err
		}
		found += n
	}
	if found >= excess {
		return nil
	}
	if found, err = p.lookAt(ctx, span{firstMilli, lastMilli}); err != nil || found >= excess {
		return err
	}
	return p.findings.add(Finding{
		Class: Extra, Day: p.result.Day, Indices: []string{p.index},
		Known: fmt.Sprintf("%d documents of %d belong to no row and have no timestamp to find them by", excess-found, p.result.Documents),
	})
}

// span is a half-open time in milliseconds since 1970.
type span struct{ from, to int64 }

func (p *dayPass) lookAtMinutes(ctx context.Context) (found int64, err error) {
	var documents map[int64]int64
	from, to := node.Millis(p.day.Start()), node.Millis(p.day.End())
	err = p.again(ctx, func() (err error) { documents, err = p.Target.Minutes(ctx, p.index, from, to); return err })
	if err != nil {
		return 0, err
	}
	for start, n := range documents {
		var present int64
		if m := p.strata.minutes[start*1000]; m != nil {
			present = m.present
		}
		if n <= present {
			continue
		}
		extra, err := p.lookAt(ctx, span{start, start + 60_000})
		if err != nil {
			return found, err
		}
		found += extra
	}
	return found, nil
}

// lookAt suspects the documents of a span that are not what the source has, and
// returns how many of them have no row on this day.
func (p *dayPass) lookAt(ctx context.Context, s span) (rowless int64, err error) {
	err = p.again(ctx, func() error {
		rowless = 0
		return p.Target.Between(ctx, p.index, s.from, s.to, func(copies []target.Copy) error {
			for part := range slices.Chunk(copies, idsAtOnce) {
				n, err := p.compareCopies(ctx, part)
				if err != nil {
					return err
				}
				rowless += n
			}
			return nil
		})
	})
	return rowless, err
}

func (p *dayPass) compareCopies(ctx context.Context, copies []target.Copy) (rowless int64, err error) {
	ids := make([]string, len(copies))
	for i, c := range copies {
		ids[i] = c.ID
	}
	rows, err := p.locate(ctx, ids)
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		micros, ok := rows[c.ID]
		here := ok && node.DayOf(micros) == p.day && !p.rejected.has([]byte(c.ID), micros)
		if !here {
			rowless++
		}
		if here && c.Millis == node.Millis(micros) {
			continue
		}
		if err := p.suspects.add(ctx, suspect{id: c.ID, day: p.day, index: c.Index}); err != nil {
			return 0, err
		}
	}
	return rowless, nil
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
