package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// recordFlag says where it is recorded what is done.
type recordFlag struct {
	Checkpoint string `help:"File that records what is done, or opensearch:NAME, an index on the target." env:"NODESTORE_CHECKPOINT" default:"nodestore-migrate.checkpoint" placeholder:"FILE"`
}

// index is the index in opensearch:NAME; ok is false if a file is named.
func (f recordFlag) index() (name string, ok bool) {
	return strings.CutPrefix(f.Checkpoint, "opensearch:")
}

// beside is what the names of files beside a checkpoint begin with. Those of a
// checkpoint in an index are in the working directory.
func (f recordFlag) beside() string {
	if index, ok := f.index(); ok {
		return index
	}
	return strings.TrimSuffix(f.Checkpoint, ".checkpoint")
}

func (f recordFlag) rejected() string { return f.beside() + ".rejected.jsonl" }
func (f recordFlag) payloads() string { return f.beside() + ".rejected-payloads.jsonl.zst" }
func (f recordFlag) findings() string { return f.beside() + ".findings.jsonl" }

// written is a file that a flag names, to write it.
type written struct{ flag, path string }

// ownFiles adds a problem for each of them that is another one's, or belongs to
// the checkpoint: what is written last would be all that is left.
func (f recordFlag) ownFiles(found []string, files ...written) []string {
	taken := []written{
		{"the checkpoint", f.Checkpoint},
		{"the checkpoint's lock", f.Checkpoint + ".lock"},
		{"the list of rejected nodes", f.rejected()},
		{"the list of findings", f.findings()},
		{"the rejected payloads", f.payloads()},
	}
	for _, file := range files {
		for _, other := range taken {
			if file.path != "" && sameFile(file.path, other.path) {
				found = append(found, fmt.Sprintf("%s: %s is %s: name a file of its own", file.flag, file.path, other.flag))
			}
		}
		taken = append(taken, file)
	}
	return found
}

// sameFile says whether two names lead to one file. Devices and pipes do not count.
func sameFile(one, other string) bool {
	a, err := os.Stat(one)
	b, otherErr := os.Stat(other)
	if err == nil && otherErr == nil {
		return os.SameFile(a, b) && a.Mode().IsRegular()
	}
	one, err = filepath.Abs(one)
	other, otherErr = filepath.Abs(other)
	return err == nil && otherErr == nil && one == other
}

// read reads the checkpoint without its lock. Where nothing was recorded yet the
// error is fs.ErrNotExist.
func (f recordFlag) read(ctx context.Context, to *target.Target) (checkpoint.State, error) {
	index, ok := f.index()
	if !ok {
		return checkpoint.Read(f.Checkpoint)
	}
	team := migrate.Team{Target: to, Records: records.In(to, index)}
	division, ok, err := team.Look(ctx)
	if err != nil {
		return checkpoint.State{}, err
	}
	if !ok {
		return checkpoint.State{}, hint.Add(&fs.PathError{Op: "read checkpoint", Path: f.Checkpoint, Err: fs.ErrNotExist},
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
	for name := range division.Days {
		all.Days[name] = &checkpoint.Day{} // until its shard has begun
	}
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
		if part.Unbounded != nil {
			if all.Unbounded == nil {
				all.Unbounded = &node.Fates{}
			}
			all.Unbounded.Add(*part.Unbounded)
		}
	}
	return all, nil
}

// readIndex reads the checkpoint at a place, without its lock.
func readIndex(ctx context.Context, place onindex.Place) (checkpoint.State, error) {
	document, err := onindex.Read(ctx, place)
	if err != nil {
		return checkpoint.State{}, err
	}
	return checkpoint.Decode(document)
}
