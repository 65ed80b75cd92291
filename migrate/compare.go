package migrate

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

func (c *comparison) run(ctx context.Context) error {
	c.progress.missing.Store(0) // those of an earlier comparison may be there by now
	holdings, err := c.target.Holdings(ctx)
	if err != nil {
		return err
	}
	if err := c.settleGone(ctx, holdings, c.now); err != nil {
		return err
	}
	copied := c.copiedDays(holdings)
	expected, err := c.ledger.rejects.minutes(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var days []sides
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(c.Readers)
	for _, n := range copied {
		group.Go(func() error {
			s, err := c.lookAtSides(groupCtx, n, expected)
			err = c.unlessGone(groupCtx, n, err)
			mu.Lock()
			defer mu.Unlock()
			days = append(days, s)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(days, func(a, b sides) int { return int(a.day - b.day) })
	if err := c.plausible(days); err != nil {
		return err
	}
	for _, s := range days {
		if err := c.unlessGone(ctx, s.day, c.mendDay(ctx, s)); err != nil {
			return fmt.Errorf("compare day %s: %w", s.day, err)
		}
	}
	return c.stale.tellDoubled(ctx)
}
