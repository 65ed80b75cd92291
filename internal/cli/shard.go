package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// shared copies on a checkpoint in an index.
//
//  1. The processes agree on who copies which days.
//  2. A shard copies its own, on a checkpoint of its own.
//  3. Whoever finds all shards done gathers their checkpoints and continues with the
//     whole: what came meanwhile, stale copies, vanished nodes.
//
// Each step can be repeated by any of the processes, so any of them may crash.
func (w *work) shared(ctx context.Context, index string) (r result, err error) {
	number, of := w.shard()
	s := w.session
	team := migrate.Team{
		Source: s.Source, Target: s.Target, Records: records.In(s.Target, index),
		Binding: s.bound, Shards: of, Since: w.Since.Day, Until: w.Until.Day,
	}
	opening, opened := w.process.untilStopped(ctx)
	defer opened()
	if err := team.Records.Ensure(opening); err != nil {
		return r, err
	}
	division, err := team.Join(opening)
	if err != nil {
		return r, err
	}
	if of > 1 && !division.IsDone(number) {
		if r, err = w.part(ctx, team, division); err != nil || w.RestoreSettings {
			return r, err
		}
		if division, err = team.Report(opening, number); err != nil {
			return r, err
		}
	}
	if missing := division.Missing(); len(missing) > 0 {
		list := strings.Join(strings.Fields(strings.Trim(fmt.Sprint(missing), "[]")), ", ")
		w.tell("not done yet: " + list + "; the last one finishes the migration")
		return r, nil
	}
	whole, err := w.whole(ctx, team, division)
	whole.Run.Nodes, whole.Run.Bytes, whole.Seconds = whole.Run.Nodes+r.Run.Nodes, whole.Run.Bytes+r.Run.Bytes, whole.Seconds+r.Seconds
	if of > 1 && errors.Is(err, checkpoint.ErrHeld) {
		w.tell("another process finishes the migration: " + err.Error())
		return r, nil
	}
	return whole, err
}

// tell tells what comes after this shard's part.
func (w *work) tell(next string) {
	number, of := w.shard()
	w.show.event(migrate.Event{Kind: shardEvent, Cause: fmt.Sprintf("shard %d of %d: its days are copied; %s", number, of, next)})
}

func (w *work) place(team migrate.Team, key string) onindex.Place {
	return onindex.Place{Records: team.Records, Key: key, Lease: w.Lease, Waiting: func(holder string) {
		w.show.event(migrate.Event{Kind: migrate.Waiting, Pause: w.Lease, Cause: "the checkpoint is held by " + holder + ", unless that has ended"})
	}}
}

// part copies this process's days. That nodes were rejected is told by the one that
// finishes: a Job would take it for a failure, and start the pod again.
func (w *work) part(ctx context.Context, team migrate.Team, division migrate.Division) (r result, err error) {
	number, _ := w.shard()
	place := w.place(team, team.Part(number))
	r, err = w.on(ctx, place, nil, func(m *migrate.Migration, ctx context.Context) (migrate.Summary, error) {
		return m.RunShard(ctx, division, number)
	})
	r.partial = true
	return r, err
}

// whole continues the migration as a whole. What it begins with are the checkpoints of
// all shards.
func (w *work) whole(ctx context.Context, team migrate.Team, division migrate.Division) (r result, err error) {
	team.Shards = division.Shards // a process on its own may finish for them
	gather := func(ctx context.Context, list migrate.RejectedList) error {
		parts := make([]migrate.Part, team.Shards)
		for i := range parts {
			place := w.place(team, team.Part(i))
			state, err := readIndex(ctx, place)
			if err != nil {
				return err
			}
			parts[i] = migrate.Part{State: state, Rejected: func(ctx context.Context, visit func([]byte) error) error {
				return onindex.EachRejected(ctx, place, state.Rejected.List, visit)
			}}
		}
		return migrate.Gather(ctx, w.session.Checkpoint, list, parts)
	}
	if team.Shards == 1 {
		gather = nil
	}
	return w.on(ctx, w.place(team, team.Whole()), gather, w.whatToDo())
}

// on opens the checkpoint at a place, lets fill, if there is one, put into it and its
// list of rejected nodes what it begins with, and runs a migration on it.
func (w *work) on(ctx context.Context, place onindex.Place, fill func(context.Context, migrate.RejectedList) error, run migration) (r result, err error) {
	opening, opened := w.process.untilStopped(ctx)
	defer opened()
	s := w.session
	list, err := s.openIndex(opening, place)
	if err != nil {
		return r, errors.Join(err, s.closeCheckpoint())
	}
	defer func() { err = errors.Join(err, s.closeCheckpoint()) }()
	if fill != nil {
		if err := fill(opening, list); err != nil {
			return r, err
		}
	}
	s.Rejects = migrate.NewRejects(list, s.rejectsSize())
	return w.run(ctx, run)
}
