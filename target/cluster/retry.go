package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
)

// Waits is how long the same was waited for. A try that got further sets it to zero.
type Waits struct {
	Tries int
	Total time.Duration
}

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 15 * time.Second
)

// next returns the next pause: doubled each time up to maxPause, with full
// jitter below it so that senders do not come back together.
func (w *Waits) next() time.Duration {
	ceiling := min(firstPause<<min(w.Tries, 20), maxPause)
	pause := ceiling/2 + rand.N(ceiling/2+1)
	w.Tries++
	w.Total += pause
	return pause
}

// Retry tries, with pauses, until nothing causes another try or an error ends
// it. It gives up with the cause when Config.Patience is spent. Whatever waits
// for the cluster waits here.
func (c *Cluster) Retry(ctx context.Context, try func(w *Waits) (cause, err error)) error {
	var w Waits
	for {
		cause, err := try(&w)
		if err != nil || cause == nil {
			return err
		}
		if c.OutOfPatience(w) {
			err := fmt.Errorf("gave up after %s: %w", w.Total.Round(time.Second), cause)
			if mendable(err) || c.identity.ClusterUUID == "" { // then Open knows better
				return err
			}
			return hint.Add(err, "look at the cluster's health and load; then run the same command again to resume")
		}
		pause := w.next()
		if c.config.Waiting != nil {
			c.config.Waiting(cause.Error(), pause)
		}
		if err := orderly.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// OutOfPatience reports whether Retry waits no longer.
func (c *Cluster) OutOfPatience(w Waits) bool { return w.Total >= c.patience }
