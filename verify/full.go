package verify

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

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
