package governor

import (
	"context"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
)

const (
	diskInterval = 15 * time.Second
	diskHolder   = "disk"
)

// WatchDisks holds requests back while look says why there is no room for them,
// until ctx ends. look is told whether they are held back already. What cannot be
// read holds nothing back: told hears of it once.
func (g *Governor) WatchDisks(ctx context.Context, look func(ctx context.Context, held bool) (cause string, err error), told func(error)) {
	failed := false
	watch := func(time.Time) {
		cause, err := look(ctx, g.heldBy(diskHolder))
		if err != nil && ctx.Err() == nil && !failed {
			told(err)
		}
		if failed = err != nil; !failed {
			g.hold(diskHolder, cause)
		}
	}
	watch(time.Now())
	orderly.Every(ctx, diskInterval, watch)
}

func (g *Governor) heldBy(holder string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holds[holder] != ""
}
