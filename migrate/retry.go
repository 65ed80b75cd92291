package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// retry sends nodes again that were rejected for one of the reasons of Retry, because
// that may be mended. It decides about them as about any row without a document, and
// one that is rejected for the same reason again stays as it is. What the source no
// longer has as it was stays listed.
func (c *comparison) retry(ctx context.Context) error {
	if len(c.Retry) == 0 {
		return nil
	}
	rejected, err := c.ledger.rejects.of(ctx, c.Retry)
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(rejected)) {
		if n.Start() < c.firstKept(c.now) || n >= c.Until {
			continue
		}
		d := c.newDay(n, c.now)
		index, there, err := c.find(ctx, n)
		if err != nil {
			return err
		}
		if there {
			d.know(index)
		}
		if d.recallGone(); d.gone.Load() {
			continue
		}
		left := &mending{day: d, rejected: rejected[n]}
		for keys := range slices.Chunk(slices.Collect(maps.Keys(rejected[n])), portion) {
			left.uncounted = int64(len(keys))
			if err := c.mendPortion(ctx, left, keys); err != nil {
				return fmt.Errorf("retry rejected nodes of day %s: %w", n, err)
			}
		}
		c.tellLeft(left)
	}
	return nil
}
