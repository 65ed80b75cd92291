package governor

import (
	"context"
	"fmt"
	"time"
)

// Disk is the disk of a data node.
type Disk struct {
	Node string
	Used float64 // share, 0 to 1
	// Low is the used share from which the cluster allocates no more shards
	// there, and Flood the one from which it blocks writes.
	Low, Flood float64
}

const (
	diskInterval = 15 * time.Second
	// margin is how far below the low watermark copying stops: merges and what
	// is under way still need room.
	margin = 0.02
	// easing is how much further it must fall for copying to go on.
	easing = 0.01
)

// WatchDisks holds requests back while the disk of a node is close to its low
// watermark, until ctx ends. What cannot be read holds nothing back: told hears
// of it once.
func (g *Governor) WatchDisks(ctx context.Context, disks func(context.Context) ([]Disk, error), told func(error)) {
	ticker := time.NewTicker(g.disks)
	defer ticker.Stop()
	failed := false
	for {
		found, err := disks(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			told(err)
		}
		failed = err != nil
		if err == nil {
			g.judgeDisks(found)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// judgeDisks holds or releases for what the disks are like.
func (g *Governor) judgeDisks(disks []Disk) {
	const holder = "disk"
	g.mu.Lock()
	limit := margin
	if g.holds[holder] != "" {
		limit += easing
	}
	g.mu.Unlock()
	cause := ""
	for _, d := range disks {
		if d.Low > 0 && d.Used >= d.Low-limit {
			cause = fmt.Sprintf("%s's disk is at %.0f %%, low watermark %.0f %%, flood stage %.0f %%", d.Node, 100*d.Used, 100*d.Low, 100*d.Flood)
		}
	}
	g.Hold(holder, cause)
}
