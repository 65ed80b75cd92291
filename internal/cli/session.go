package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
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
	from, to, backend := s.Source.Identity(), s.Target.Identity(), s.Target.Backend()
	s.bound = checkpoint.Binding{
		Source: checkpoint.Source{System: from.System, Database: from.Database, Table: from.Table, Region: f.Region},
		Target: checkpoint.Target{Cluster: to.ClusterUUID, Alias: backend.Alias, Index: backend.Index},
	}
	return s, nil
}

// bind finds out whether a checkpoint is one of this source. A source on another
// server, or under another name, is refused with what changed and what did not, unless
// it is confirmed that it has the same data and some days show it.
func (s *session) bind(ctx context.Context, state checkpoint.State, confirmed bool) error {
	moved := s.bound
	moved.Moved = true
	_, err := state.Binding.Accept(s.bound)
	if _, otherwise := state.Binding.Accept(moved); err == nil || otherwise != nil {
		return nil // the same, or not only moved: opening the checkpoint refuses it
	}
	seen, err := migrate.Sight(ctx, s.Source, s.Target, state)
	if err != nil {
		return fmt.Errorf("compare the source with what was copied from another server: %w", err)
	}
	agree := len(seen) == 0 || slices.ContainsFunc(seen, func(d migrate.Sighting) bool { return d.Agree })
	if agree && confirmed {
		s.bound = moved
		return nil
	}
	remedy := "give the source of the first run: these are not the rows that were copied, so it cannot be taken for the same data that moved"
	if agree {
		remedy = "if this is the same data after a restore, an upgrade or a switch-over, confirm that with migrate --source-moved: days that agree are kept; else give the source of the first run, or another --checkpoint and --alias"
	}
	return hint.Add(fmt.Errorf("the checkpoint is bound to another source: %s", s.movedText(state.Binding.Source, seen)), remedy)
}

// movedText says what changed between the source of a checkpoint and this one, and
// what did not.
func (s *session) movedText(before checkpoint.Source, seen []migrate.Sighting) string {
	now := s.Source.Identity()
	var changed, same []string
	for _, f := range [][3]string{
		{"system identifier", before.System, now.System}, {"database", before.Database, now.Database}, {"table", before.Table, now.Table},
	} {
		if f[1] == f[2] || f[2] == "" {
			same = append(same, f[0]+" "+f[1])
			continue
		}
		changed = append(changed, fmt.Sprintf("%s %s, now %s", f[0], f[1], f[2]))
	}
	server, _, _ := strings.Cut(s.Source.Relation().ServerText, " on ")
	text := "changed: " + strings.Join(changed, "; ") + " (" + server + ")"
	if len(same) > 0 {
		text += "; not changed: " + strings.Join(same, ", ")
	}
	for _, d := range seen {
		agree := "differs"
		if d.Agree {
			agree = "agrees"
		}
		text += fmt.Sprintf("; day %s %s: %s rows, %s of them rejected, %s documents",
			d.Day, agree, amount.Count(d.Rows), amount.Count(d.Rejected), amount.Count(d.Documents))
	}
	return text
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
