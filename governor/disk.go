package governor

import (
	"context"
	"time"
)

const (
	diskInterval = 15 * time.Second
	diskHolder   = "disk"
)

// WatchDisks holds requests back while look says why there is no room for them,
// until ctx ends. look is told whether they are held back already. What cannot be
// read holds nothing back: told hears of it once.
func (g *Governor) WatchDisks(ctx context.Context, look func(ctx context.Context, held bool) (cause string, err error), told func(error)) {
	ticker := time.NewTicker(g.disks)
	defer ticker.Stop()
	failed := false
	for {
		cause, err := look(ctx, g.heldBy(diskHolder))
		if err != nil && ctx.Err() == nil && !failed {
			told(err)
		}
		failed = err != nil
		if err == nil {
			g.Hold(diskHolder, cause)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (g *Governor) heldBy(holder string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holds[holder] != ""
}
