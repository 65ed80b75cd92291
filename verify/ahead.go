package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/source"
)

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
	err := c.ask(ctx, func() error {
		list = nil
		return c.source.Entries(ctx, c.horizon, math.MaxInt64, func(e source.Entry) error {
			if len(list) < maxAhead {
				list = append(list, suspect{id: string(e.ID), micros: e.Micros})
			}
			return nil
		})
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
