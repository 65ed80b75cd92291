package cli

import (
	"context"
	"errors"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// session is what a verb works with while it is open: both sides, and the checkpoint
// that belongs to them.
type session struct {
	migrate.Parts
	bound checkpoint.Binding // what the checkpoint belongs to
}

// reach reaches both sides.
func (f *sidesFlags) reach(ctx context.Context, p *process, connections int, waiting func(string, time.Duration)) (*session, error) {
	s := &session{}
	config, err := f.targetFlags.config(ctx, p)
	if err != nil {
		return nil, err
	}
	config.Waiting = waiting
	if s.Source, err = source.Open(ctx, f.sourceFlags.config(p, connections)); err != nil {
		return nil, err
	}
	if s.Target, err = target.Open(ctx, config); err != nil {
		return nil, errors.Join(err, s.close())
	}
	to, backend := s.Target.Identity(), s.Target.Backend()
	s.bound = checkpoint.Binding{
		Source: s.Source.Origin(f.Region),
		Target: checkpoint.Target{Cluster: to.ClusterUUID, Alias: backend.Alias, Index: backend.Index},
	}
	return s, nil
}

// openFile opens the checkpoint in a file.
func (s *session) openFile(ctx context.Context, path string) error {
	medium, err := checkpoint.OpenFile(path)
	if err != nil {
		return err
	}
	return s.open(ctx, medium)
}

// openIndex opens the checkpoint at a place on the target, and returns the list of
// rejected nodes there.
func (s *session) openIndex(ctx context.Context, place onindex.Place) (migrate.RejectedList, error) {
	medium, err := onindex.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	return medium.Rejected(), s.open(ctx, medium)
}

func (s *session) open(ctx context.Context, medium checkpoint.Medium) (err error) {
	if s.Checkpoint, err = checkpoint.Open(ctx, medium, s.bound); err != nil {
		return errors.Join(err, medium.Close())
	}
	if !s.bound.Moved {
		return nil
	}
	return s.Checkpoint.Update(ctx, func(state *checkpoint.State) {
		if state.Verify != nil {
			state.Verify.Complete = true // what was verified before the move is not resumed
		}
	})
}

func (s *session) rejectsSize() (size migrate.RejectsSize) {
	s.Checkpoint.View(func(state *checkpoint.State) { size = migrate.RejectsSize(state.Rejected) })
	return size
}

func (s *session) close() error {
	err := s.closeCheckpoint()
	if s.Source != nil {
		s.Source.Close()
	}
	if s.Target != nil {
		s.Target.Close()
	}
	return err
}

// closeCheckpoint gives the checkpoint free; another one can be opened then.
func (s *session) closeCheckpoint() error {
	var errs []error
	if s.Rejects != nil {
		errs = append(errs, s.Rejects.Close())
	}
	if s.Checkpoint != nil {
		errs = append(errs, s.Checkpoint.Close())
	}
	s.Rejects, s.Checkpoint = nil, nil
	return errors.Join(errs...)
}
