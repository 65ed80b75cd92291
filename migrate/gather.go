package migrate

import (
	"context"
	"fmt"
	"maps"
	"math"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// Part is the checkpoint of a shard that is done.
type Part struct {
	State checkpoint.State
	// Rejected hands over the list of its rejected nodes, in order.
	Rejected func(ctx context.Context, visit func(lines []byte) error) error
}

// Gather makes one checkpoint of those of all shards, with which Run continues,
// and one list of their lists of rejected nodes. What was gathered before is
// left as it is.
func Gather(ctx context.Context, whole *checkpoint.Checkpoint, list RejectedList, parts []Part) error {
	var gathered int
	whole.View(func(state *checkpoint.State) { gathered = state.Shards })
	if gathered == len(parts) {
		return nil
	}
	merged, err := Merge(parts)
	if err != nil {
		return err
	}
	var at int64
	for _, part := range parts {
		err := part.Rejected(ctx, func(lines []byte) error {
			err := list.Append(ctx, at, lines)
			at += int64(len(lines))
			return err
		})
		if err != nil {
			return fmt.Errorf("gather rejected nodes: %w", err)
		}
	}
	return whole.Update(ctx, func(state *checkpoint.State) {
		merged.Binding, merged.Rejected = state.Binding, checkpoint.Rejected{List: at}
		*state = merged
	})
}

// Merge returns what the checkpoints of shards say together. Each day is in one
// of them.
func Merge(parts []Part) (checkpoint.State, error) {
	merged := checkpoint.State{
		Days: map[string]*checkpoint.Day{}, Borrowed: map[string]checkpoint.Borrowed{}, Shards: len(parts),
	}
	merged.CatchUp.Swept, merged.CatchUp.Overlap = math.MaxInt64, math.MaxInt64
	for i, part := range parts {
		if i == 0 || part.State.Started.Before(merged.Started) {
			merged.Started = part.State.Started
		}
		if i == 0 {
			merged.Binding = part.State.Binding
		}
		merged.Shape = merged.Shape.Or(part.State.Shape)
		if err := mergeDays(&merged, part.State); err != nil {
			return checkpoint.State{}, err
		}
		if err := mergeCatchUp(&merged, part.State); err != nil {
			return checkpoint.State{}, err
		}
	}
	return merged, nil
}

func mergeDays(merged *checkpoint.State, part checkpoint.State) error {
	for name, day := range part.Days {
		if merged.Days[name] != nil {
			return fmt.Errorf("gather checkpoints: day %s is in those of two shards", name)
		}
		merged.Days[name] = day
	}
	maps.Copy(merged.Borrowed, part.Borrowed)
	if part.Unbounded != nil {
		merged.Unbounded = part.Unbounded
	}
	return nil
}

func mergeCatchUp(merged *checkpoint.State, part checkpoint.State) error {
	merged.CopyUntil = max(merged.CopyUntil, part.CopyUntil)
	to, from := &merged.CatchUp, part.CatchUp
	to.Swept = min(to.Swept, from.Swept)
	if to.SwitchedAt != 0 && from.SwitchedAt != 0 && to.SwitchedAt != from.SwitchedAt {
		return fmt.Errorf("gather checkpoints: the switch was at %s for one shard and at %s for another",
			isoTime(to.SwitchedAt), isoTime(from.SwitchedAt))
	}
	to.Before = to.Before || from.Before
	to.SwitchedAt = max(to.SwitchedAt, from.SwitchedAt)
	to.Retention = max(to.Retention, from.Retention)
	to.Overlap = min(to.Overlap, from.Overlap)
	for at, hashes := range from.Recent {
		if to.Recent == nil {
			to.Recent = make(map[int64][]byte)
		}
		to.Recent[at] = append(to.Recent[at], hashes...)
	}
	return nil
}
