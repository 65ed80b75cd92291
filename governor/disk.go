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
	// Mark is the used share from which the cluster allocates no more shards
	// there, of the watermark Name, and Flood the one from which it blocks writes.
	Mark, Flood float64
	Name        string
}

const (
	diskInterval = 15 * time.Second
	// Margin is how far below its watermark a disk counts as full, as a share of
	// it: merges and what is under way still need room.
	Margin = 0.02
	// easing is how much further it must fall for copying to go on.
	easing = 0.01
)

// WatchDisks holds requests back while the disks of all nodes are close to their
// watermark, or one close to the flood stage, until ctx ends. What cannot be read holds nothing back: told hears
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
	limit := Margin
	if g.holds[holder] != "" {
		limit += easing
	}
	g.mu.Unlock()
	cause, full := "", 0
	for _, d := range disks {
		text := fmt.Sprintf("%s's disk is at %.0f %%, %s %.0f %%, flood stage %.0f %%", d.Node, 100*d.Used, d.Name, 100*d.Mark, 100*d.Flood)
		if d.Mark > 0 && d.Used >= d.Mark-limit {
			full++
		}
		// Other nodes take the shards that a node past its low watermark may not have.
		if full == len(disks) || d.Flood > 0 && d.Used >= d.Flood-limit {
			cause = text
		}
	}
	g.Hold(holder, cause)
}
