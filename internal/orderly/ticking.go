package orderly

import (
	"context"
	"sync"
	"time"
)

// Every does work at each tick, one at a time, until ctx ends.
func Every(ctx context.Context, interval time.Duration, work func(now time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			work(now)
		}
	}
}

// Ticking is Every beside what else is done, until the returned function is called,
// which waits for work that is under way.
func Ticking(interval time.Duration, work func(now time.Time)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { Every(ctx, interval, work) })
	return func() {
		cancel()
		running.Wait()
	}
}
