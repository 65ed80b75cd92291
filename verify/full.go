package verify

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// compareAll compares the payloads of all hours of the subset that are not
// recorded yet, part by part, and records each.
func (r *run) compareAll(ctx context.Context) error {
	for _, d := range r.days {
		var cut atomic.Bool
		err := each(ctx, r.Workers, r.missingParts(d), func(ctx context.Context, part checkpoint.Range) error {
			if r.stopped() {
				cut.Store(true)
				return nil
			}
			count := &counted{}
			p := &payloads{r, d.day, ofAll, &suspects{run: r, judge: judge{r}.byPayloads, counted: count}}
			if err := p.comparePart(ctx, part); err != nil {
				return err
			}
			if err := p.suspects.flush(ctx); err != nil {
				return err
			}
			return r.record.addPart(ctx, d.day.String(), part, &count.day)
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
