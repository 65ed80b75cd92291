package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

const (
	// closeEnough is how short a pass must be for the copy to count as caught
	// up with a Sentry that never stops writing.
	closeEnough = 10 * time.Second
	// followPause is the pause between two passes of Follow.
	followPause = 2 * time.Second
	// compareInterval is how often Follow compares all days on both sides.
	compareInterval = 15 * time.Minute
	// tellInterval is how often passes that find nothing are told of.
	tellInterval = 30 * time.Second
)

// passes sweep over the source, one after the other: the first is the copy.
type passes struct {
	copying
	both *comparison
}

// catchUp makes passes. It ends when one finds nothing new, or took so little
// time that the next would not find less; with Follow, when it was quiet for long
// enough.
func (p *passes) catchUp(ctx context.Context) error {
	var told time.Time
	compared, latest := time.Now(), time.Now() // when something new was found last
	for {
		began := time.Now()
		before := p.progress.sentNodes.Load()
		if err := p.again(ctx, p.pass); err != nil {
			return err
		}
		fresh, took := p.progress.sentNodes.Load()-before, time.Since(began)
		if fresh > 0 || time.Since(told) >= tellInterval {
			told = time.Now()
			p.Notify(Event{Kind: CaughtUp, Nodes: fresh, Behind: took})
		}
		if !p.Follow && (fresh == 0 || took < closeEnough) {
			return nil
		}
		if p.stopped() {
			return ErrInterrupted
		}
		if !p.Follow {
			continue
		}
		if time.Since(compared) >= compareInterval {
			if err := p.again(ctx, p.both.run); err != nil {
				return err
			}
			compared = time.Now()
		}
		if fresh > 0 {
			latest = time.Now()
		}
		if p.QuietFor > 0 && time.Since(latest) >= p.QuietFor {
			return nil
		}
		if err := p.wait(ctx, followPause); err != nil {
			return err
		}
	}
}

// pass is one sweep over what is new at the source.
//
//  1. Rows up to the present are copied by slices, and their days sealed.
//  2. Rows that were committed late, before the end of an earlier pass or with
//     a clock that is ahead, are copied one by one.
//  3. Stale copies of rows that Sentry rewrote since the first run are removed.
//
// A pass that is cut short leaves the record of what is still to be looked at,
// so that the next one does.
func (p *passes) pass(ctx context.Context) error {
	if err := p.advance(ctx); err != nil {
		return err
	}
	if err := p.copying.run(ctx); err != nil {
		return err
	}
	if err := p.copyLate(ctx); err != nil {
		return err
	}
	if err := p.stale.sweep(ctx, p.oldest, p.now); err != nil {
		return err
	}
	return p.ledger.Update(ctx, func(state *checkpoint.State) {
		state.CatchUp.Windows, state.CatchUp.Swept = nil, p.swept(state.CatchUp.Swept, p.now)
		state.CatchUp.Forget(func(at int64) bool { return at+minute <= p.now-p.overlap() && !p.switched(at+minute) })
	})
}

// advance moves the end of the copy to the present. The first time it also
// notes whether the target had documents before.
func (p *passes) advance(ctx context.Context) error {
	var err error
	if p.now, err = p.Now(ctx); err != nil {
		return err
	}
	p.oldest, p.both.now = p.now, p.now
	var first bool
	p.ledger.View(func(state *checkpoint.State) { first = state.CopyUntil == 0 })
	var swept int64
	if first {
		if swept, err = firstSwept(ctx, p.terms, p.source, p.target, p.now); err != nil {
			return err
		}
	}
	return p.ledger.Update(ctx, func(state *checkpoint.State) {
		c := &state.CatchUp
		if first {
			c.Swept = swept
		} else {
			// What has its fate is remembered as far back as that pass looked: with
			// another overlap now, more would be counted twice, and sent again.
			c.Windows = append(c.Windows, checkpoint.Range{From: state.CopyUntil - c.Overlap, To: state.CopyUntil})
		}
		state.CopyUntil, c.Overlap = p.now, p.overlap()
		p.windows = slices.Clone(c.Windows)
	})
}

// copyLate copies the rows around the edges of earlier passes that have no
// fate yet. What had one is not sent again: Sentry may have deleted it at the
// target since.
func (p *passes) copyLate(ctx context.Context) error {
	ranges := append(slices.Clone(p.windows), checkpoint.Range{From: p.now, To: node.MaxDay.End()})
	known := p.ledger.recall()
	for more := true; more; {
		late, err := p.findLate(ctx, ranges, known)
		if more = errors.Is(err, errMany); err != nil && !more {
			return err
		}
		for n, keys := range late {
			d := p.newDay(n, p.now)
			s := singles{day: d, keys: keys, uncounted: int64(len(keys)), send: d.write}
			if err := s.make(ctx, p.now); err != nil {
				return fmt.Errorf("copy late rows of day %s: %w", n, err)
			}
		}
	}
	p.ledger.recall()
	return nil
}

// maxLate is how many late rows are in memory by their ids, at some 100 bytes each:
// somebody may have loaded millions. With more, the ranges are read again.
const maxLate = 100_000

// errMany ends the search for late rows, because there are enough for now.
var errMany = errors.New("many late rows")

// findLate returns rows that are not known yet, by day, and makes them known.
func (p *passes) findLate(ctx context.Context, ranges []checkpoint.Range, known checkpoint.Marks) (late map[node.Day][]key, err error) {
	late = make(map[node.Day][]key)
	found := 0
	for _, r := range ranges {
		from, to := max(r.From, p.firstKept(p.now)), min(r.To, p.Until.Start())
		err := p.source.Keys(ctx, from, to, func(id []byte, micros int64) error {
			k := key{string(id), micros}
			if known.Has(k.mark()) {
				return nil
			}
			known.Add(k.mark()) // ranges of two edges may overlap
			late[node.DayOf(micros)] = append(late[node.DayOf(micros)], k)
			if found++; found == maxLate {
				return errMany
			}
			return nil
		})
		if err != nil {
			return late, err
		}
	}
	return late, nil
}
