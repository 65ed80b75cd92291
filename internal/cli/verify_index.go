package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// besideCheckpoint is what the names of files beside a checkpoint begin with.
// Those of a checkpoint in an index are in the working directory.
func besideCheckpoint(flag string) string {
	if index, ok := checkpointIndex(flag); ok {
		return index
	}
	return strings.TrimSuffix(flag, ".checkpoint")
}

// rejectedFile is where the rejected nodes of a checkpoint are listed.
func rejectedFile(flag string) string { return besideCheckpoint(flag) + ".rejected.jsonl" }

// openIndex opens the checkpoint of a migration as a whole in an index, and
// puts a copy of its list of rejected nodes into the file list.
func (c *verifyCommand) openIndex(ctx context.Context, s *session, list string) error {
	index, _ := checkpointIndex(c.Checkpoint)
	team := migrate.Team{Source: s.Source, Target: s.Target, Records: s.Target.Records(index), Binding: s.binding(c.Region), Shards: 1}
	place := onindex.Place{Records: team.Records, Key: team.Whole()}
	_, begun, err := team.Look(ctx)
	if begun {
		_, err = team.Join(ctx)
	}
	if err != nil {
		return err
	}
	state, err := readIndex(ctx, place)
	if !begun || errors.Is(err, fs.ErrNotExist) || err == nil && state.CopyUntil == 0 {
		return hint.Add(fmt.Errorf("index %s has no checkpoint of a migration to alias %s", index, s.Target.Backend().Alias),
			"run migrate with the same --checkpoint first; the last of several shards has to finish it")
	}
	if err != nil {
		return err
	}
	medium, err := onindex.Open(ctx, place)
	if err != nil {
		return err
	}
	if s.Checkpoint, err = checkpoint.Open(ctx, medium, s.binding(c.Region)); err != nil {
		return errors.Join(err, medium.Close())
	}
	return copyRejected(ctx, place, s.rejectsSize().List, list)
}

func copyRejected(ctx context.Context, place onindex.Place, size int64, path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("copy the list of rejected nodes: %w", err)
	}
	err = onindex.EachRejected(ctx, place, size, func(lines []byte) error {
		_, err := file.Write(lines)
		return err
	})
	if err := errors.Join(err, file.Close()); err != nil {
		return hint.Add(fmt.Errorf("copy the list of rejected nodes: %w", err), "the list is copied into the working directory: make room there and run the same command again")
	}
	return nil
}
