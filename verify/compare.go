package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// comparison goes through the levels of a run.
type comparison struct {
	*run
	repairs map[string]int64 // what a repair did, by what it was
	ahead   tally            // rows that the last pass of the migration did not know, with a sound document
}

func (c *comparison) compare(ctx context.Context) error {
	switch c.Level {
	case Counts:
		return inTurn(ctx, c.compareCounts, c.finish)
	case Full:
		return inTurn(ctx, c.compareIDs, c.compareAll, c.finish, c.repair, c.compareAhead)
	}
	return inTurn(ctx, c.compareIDs, c.finish, c.repair, c.compareAhead)
}

// finish records that nothing is left, if that is so: after a subset, the
// others are. What is asked for next is compared again.
func (c *comparison) finish(ctx context.Context) error {
	if !c.complete() {
		return nil
	}
	return c.record.Update(ctx, func(s *checkpoint.State) { s.Verify.Complete = true })
}

// compareCounts compares numbers only. A missing node and one too many on the
// same day cancel each other out: no more than numbers is promised.
func (c *comparison) compareCounts(ctx context.Context) error {
	rejected := make(map[node.Day]int64)
	for _, known := range c.rejected {
		if known.bounded {
			rejected[node.DayOf(known.micros)]++
		}
	}
	for _, d := range c.allDays() {
		result := c.emptyDay(d)
		holding, behind := c.indices[result.Index]
		result.Source, result.Rejected, result.Documents = d.rows, rejected[d.day], holding.Docs
		difference := result.Documents - (result.Source - result.Rejected)
		if !result.Ours {
			result.Native, difference = max(difference, 0), min(difference, 0)
		}
		found := Finding{Day: result.Day, Indices: []string{result.Index}, Known: fmt.Sprintf(
			"%d rows of which %d were rejected, %d documents", result.Source, result.Rejected, result.Documents)}
		switch {
		case !behind && result.Source > result.Rejected:
			found.Class, found.Known = Unreadable, found.Known+": there is no such index behind the alias"
		case difference < 0:
			found.Class = Missing
		case difference > 0:
			found.Class = Extra
		}
		if found.Class != "" {
			if err := c.record.findings.add(result.Day, found); err != nil {
				return err
			}
		}
		if err := c.record.put(ctx, &result); err != nil {
			return err
		}
		c.meter.add(d.rows, 0)
	}
	return nil
}

// compareAll compares the payloads of all hours of the subset that are not
// recorded yet, part by part, and records each.
func (c *comparison) compareAll(ctx context.Context) error {
	for _, d := range c.days {
		var cut atomic.Bool
		err := each(ctx, c.Workers, c.missingParts(d), func(ctx context.Context, part checkpoint.Range) error {
			if c.stopped() {
				cut.Store(true)
				return nil
			}
			count := &counted{}
			p := &payloads{c.run, d.day, ofAll, &suspects{run: c.run, judge: judge{c.run}.byPayloads, counted: count}}
			if err := p.comparePart(ctx, part); err != nil {
				return err
			}
			if err := p.suspects.flush(ctx); err != nil {
				return err
			}
			return c.record.addPart(ctx, d.day.String(), part, &count.day)
		})
		switch {
		case err != nil:
			return fmt.Errorf("verify day %s: %w", d.day, err)
		case cut.Load():
			return ErrInterrupted
		}
	}
	return nil
}

// tally is what a reading of rows saw. A sum tells two rows apart where a count
// does not: an index that lacks one row and has another twice.
type tally struct {
	rows    int64
	moments uint64 // sum of timestamps, in µs since 1970, modulo 2^64
}

func (t *tally) add(micros int64) {
	t.rows++
	t.moments += uint64(micros)
}

// maxAhead is how many rows newer than the last pass of the migration are looked
// at: they can be rows dated in the future. With more, the migration is behind.
const maxAhead = 100_000

// compareAhead compares the rows that are newer than the last pass of the
// migration, and counts those that have a sound document: they are what it has not
// copied yet, or are dated in the future.
func (c *comparison) compareAhead(ctx context.Context) error {
	var list []suspect
	_, err := c.entries(ctx, checkpoint.Range{From: c.horizon, To: math.MaxInt64}, func() { list = nil }, func(e source.Entry) error {
		if len(list) < maxAhead {
			list = append(list, suspect{id: string(e.ID), micros: e.Micros})
		}
		return nil
	})
	if err != nil || len(list) == maxAhead {
		return err
	}
	for part := range slices.Chunk(list, suspectsAtOnce) {
		judgements, err := judge{c.run}.byPayloads(ctx, part)
		if err != nil {
			return fmt.Errorf("compare rows newer than the last pass: %w", err)
		}
		for i, j := range judgements {
			if j.outcome == cleared {
				c.ahead.add(part[i].micros)
			}
		}
	}
	return nil
}
