package governor

import (
	"context"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
)

// watchInterval is the pause between two looks at what may hold requests back.
const watchInterval = 15 * time.Second

// Watch holds requests back while look says why, in the name of a holder, until ctx
// ends. look is told whether they are held back by that already. What cannot be
// read holds nothing back: told hears of it once.
func (g *Governor) Watch(ctx context.Context, holder string, look func(ctx context.Context, held bool) (cause string, err error), told func(error)) {
	failed := false
	watch := func(time.Time) {
		cause, err := look(ctx, g.heldBy(holder))
		if err != nil && ctx.Err() == nil && !failed {
			told(err)
		}
		if failed = err != nil; !failed {
			g.hold(holder, cause)
		}
	}
	watch(time.Now())
	orderly.Every(ctx, watchInterval, watch)
}

func (g *Governor) heldBy(holder string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holds[holder] != ""
}
