package cli

import (
	"context"
	"errors"
	"io/fs"
	"maps"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// readState reads what --checkpoint names, without its lock: a file, or an
// index on the target. Where nothing was recorded yet the error is
// fs.ErrNotExist.
func readState(ctx context.Context, flag string, to *target.Target) (checkpoint.State, error) {
	index, ok := checkpointIndex(flag)
	if !ok {
		return checkpoint.Read(flag)
	}
	team := migrate.Team{Target: to, Records: to.Records(index)}
	division, ok, err := team.Look(ctx)
	if err != nil {
		return checkpoint.State{}, err
	}
	if !ok {
		return checkpoint.State{}, hint.Add(&fs.PathError{Op: "read checkpoint", Path: flag, Err: fs.ErrNotExist},
			"no migration to this alias has begun there: check --checkpoint and --alias")
	}
	whole, err := readIndex(ctx, onindex.Place{Records: team.Records, Key: team.Whole()})
	notGathered := errors.Is(err, fs.ErrNotExist) || err == nil && whole.Shards == 0
	if division.Shards <= 1 || !notGathered {
		return whole, err
	}
	team.Shards = division.Shards
	return readShards(ctx, team, division)
}

// readShards puts the checkpoints of shards side by side, until one of them
// has gathered them. A day belongs to one shard.
func readShards(ctx context.Context, team migrate.Team, division migrate.Division) (checkpoint.State, error) {
	all := checkpoint.State{Binding: division.Binding, Days: map[string]*checkpoint.Day{}, Borrowed: map[string]checkpoint.Borrowed{}}
	for shard := range division.Shards {
		part, err := readIndex(ctx, onindex.Place{Records: team.Records, Key: team.Part(shard)})
		if errors.Is(err, fs.ErrNotExist) {
			continue // not begun yet
		}
		if err != nil {
			return checkpoint.State{}, err
		}
		all.Format, all.Tool = part.Format, part.Tool
		if all.Started.IsZero() || part.Started.Before(all.Started) {
			all.Started = part.Started
		}
		if part.Saved.After(all.Saved) {
			all.Saved = part.Saved
		}
		all.CopyUntil = max(all.CopyUntil, part.CopyUntil)
		maps.Copy(all.Borrowed, part.Borrowed)
		maps.Copy(all.Days, part.Days)
		addUnbounded(&all, part.Unbounded)
	}
	for name := range division.Days {
		if all.Days[name] == nil {
			all.Days[name] = &checkpoint.Day{} // of a shard that has not begun
		}
	}
	return all, nil
}

func addUnbounded(all *checkpoint.State, part *node.Fates) {
	if part == nil {
		return
	}
	if all.Unbounded == nil {
		all.Unbounded = &node.Fates{}
	}
	all.Unbounded.Add(*part)
}
