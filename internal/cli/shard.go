package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// shardFlags divide a migration among several processes.
type shardFlags struct {
	Shard  shardValue    `help:"Copy the part I of N, from 0, of a migration that N processes share; wants --checkpoint opensearch:NAME. The last one finishes it." env:"NODESTORE_SHARD" placeholder:"I/N" group:"Several machines"`
	Shards int           `help:"In a Kubernetes Indexed Job: number of its pods (completions); $$JOB_COMPLETION_INDEX says which one this is." env:"NODESTORE_SHARDS" placeholder:"N" group:"Several machines"`
	Job    string        `name:"job-completion-index" hidden:"" env:"JOB_COMPLETION_INDEX"`
	Lease  time.Duration `help:"With --checkpoint opensearch:NAME: how long its holder may be silent before another process takes over; ${default} by default." env:"NODESTORE_LEASE" default:"15s" placeholder:"DURATION" group:"Several machines"`
}

// shardValue is a part of a migration: of none if it was not given.
type shardValue struct {
	number, of int
	problem    error
}

// maxShards is far beyond what one cluster takes; it catches typing errors.
const maxShards = 1000

// UnmarshalText reads I/N.
func (s *shardValue) UnmarshalText(text []byte) error {
	number, of, _ := strings.Cut(string(text), "/")
	var numberErr, ofErr error
	s.number, numberErr = strconv.Atoi(number)
	s.of, ofErr = strconv.Atoi(of)
	if numberErr != nil || ofErr != nil || s.of < 1 || s.of > maxShards || s.number < 0 || s.number >= s.of {
		s.problem = fmt.Errorf("%q is no part such as 0/4, of at most %d, counted from 0", text, maxShards)
	}
	return nil
}

// minLease is what a heart needs to beat in time.
const minLease = 100 * time.Millisecond

func (f *shardFlags) problems(found []string) []string {
	found = named(found, "shard", f.Shard.problem)
	if f.Shards < 0 || f.Shards > maxShards {
		found = append(found, fmt.Sprintf("--shards: %d is no whole number from 1 to %d", f.Shards, maxShards))
	}
	if f.Lease < minLease {
		found = append(found, fmt.Sprintf("--lease: %s is less than %s", f.Lease, minLease))
	}
	if f.Shard.of != 0 {
		if f.Shards != 0 && f.Shards != f.Shard.of {
			found = append(found, fmt.Sprintf("--shard has %d parts, and --shards %d", f.Shard.of, f.Shards))
		}
		return found
	}
	index, err := strconv.Atoi(f.Job)
	switch {
	case f.Job == "" && f.Shards > 1:
		found = append(found, "--shards: $JOB_COMPLETION_INDEX does not say which shard this is: give --shard I/N instead")
	case f.Job != "" && f.Shards == 0:
		found = append(found, "$JOB_COMPLETION_INDEX is set, so this is one of several pods: give their number with --shards")
	case f.Job != "" && (err != nil || index < 0 || index >= f.Shards):
		found = append(found, fmt.Sprintf("$JOB_COMPLETION_INDEX: %q is no shard of %d", f.Job, f.Shards))
	}
	return found
}

// shard is this process's part; 0 of 1 if it is on its own.
func (f *shardFlags) shard() (number, of int) {
	switch {
	case f.Shard.of > 0:
		return f.Shard.number, f.Shard.of
	case f.Shards > 1:
		number, _ = strconv.Atoi(f.Job) // problems has looked at it
		return number, f.Shards
	}
	return 0, 1
}

// checkpointIndex is the index in --checkpoint opensearch:NAME; ok is false if
// it names a file.
func checkpointIndex(flag string) (index string, ok bool) {
	return strings.CutPrefix(flag, "opensearch:")
}

// shardEvent tells how far a shared migration is.
const shardEvent migrate.Kind = "shard"

// shared copies on a checkpoint in an index.
//
//  1. The processes agree on who copies which days.
//  2. A shard copies its own, on a checkpoint of its own.
//  3. Who finds all shards done gathers their checkpoints and continues with the
//     whole: what came meanwhile, stale copies, vanished nodes.
//
// Each step can be repeated by any of the processes, so any of them may crash.
func (w *work) shared(ctx context.Context, index string) (r result, err error) {
	number, of := w.shard()
	s := w.session
	team := migrate.Team{
		Source: s.Source, Target: s.Target, Records: s.Target.Records(index),
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
		w.tell("its days are copied; not done yet: %s; the last one finishes the migration", shardList(missing))
		return r, nil
	}
	whole, err := w.whole(ctx, team, division)
	whole.add(r.Summary)
	if of > 1 && errors.Is(err, checkpoint.ErrHeld) {
		_, holder, _ := strings.Cut(err.Error(), checkpoint.ErrHeld.Error()+": ")
		w.tell("its days are copied; another process finishes the migration: %s", holder)
		return r, nil
	}
	return whole, err
}

func (w *work) tell(format string, values ...any) {
	number, of := w.shard()
	w.show.event(migrate.Event{Kind: shardEvent, Cause: fmt.Sprintf("shard %d of %d: ", number, of) + fmt.Sprintf(format, values...)})
}

func shardList(shards []int) string {
	return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(shards), "[]")), ", ")
}

func (w *work) place(team migrate.Team, key string) onindex.Place {
	return onindex.Place{Records: team.Records, Key: key, Lease: w.Lease, Waiting: func(holder string) {
		w.show.event(migrate.Event{Kind: migrate.Waiting, Pause: w.Lease, Cause: "the checkpoint is held by " + holder + ", unless that has ended"})
	}}
}

// part copies this process's days. That nodes were rejected is told by who
// finishes: a Job would take it for a failure, and start the pod again.
func (w *work) part(ctx context.Context, team migrate.Team, division migrate.Division) (r result, err error) {
	number, _ := w.shard()
	if err := w.openIndex(ctx, w.place(team, team.Part(number)), nil); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.session.closeCheckpoint()) }()
	r, err = w.run(ctx, func(m *migrate.Migration, ctx context.Context) (migrate.Summary, error) {
		return m.RunShard(ctx, division, number)
	})
	r.partial = true
	return r, err
}

// whole continues the migration as a whole.
func (w *work) whole(ctx context.Context, team migrate.Team, division migrate.Division) (r result, err error) {
	team.Shards = division.Shards // a process on its own may finish for them
	gather := func(ctx context.Context, c *checkpoint.Checkpoint, list migrate.RejectedList) error {
		parts, err := w.parts(ctx, team)
		if err != nil {
			return err
		}
		return migrate.Gather(ctx, c, list, parts)
	}
	if division.Shards == 1 {
		gather = nil
	}
	if err := w.openIndex(ctx, w.place(team, team.Whole()), gather); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.session.closeCheckpoint()) }()
	return w.run(ctx, w.whatToDo())
}

// parts are the checkpoints of all shards.
func (w *work) parts(ctx context.Context, team migrate.Team) ([]migrate.Part, error) {
	parts := make([]migrate.Part, team.Shards)
	for i := range parts {
		place := w.place(team, team.Part(i))
		state, err := readIndex(ctx, place)
		if err != nil {
			return nil, err
		}
		parts[i].State = state
		parts[i].Rejected = func(ctx context.Context, visit func([]byte) error) error {
			return onindex.EachRejected(ctx, place, state.Rejected.List, visit)
		}
	}
	return parts, nil
}

// readIndex reads the checkpoint at a place, without its lock.
func readIndex(ctx context.Context, place onindex.Place) (checkpoint.State, error) {
	document, err := onindex.Read(ctx, place)
	if err != nil {
		return checkpoint.State{}, err
	}
	return checkpoint.Decode(document)
}

// openIndex opens the checkpoint at a place, lets fill, if there is one, put
// into it and its list of rejected nodes what it begins with, and has the
// session work with both.
func (w *work) openIndex(ctx context.Context, place onindex.Place, fill func(context.Context, *checkpoint.Checkpoint, migrate.RejectedList) error) (err error) {
	ctx, opened := w.process.untilStopped(ctx)
	defer opened()
	medium, err := onindex.Open(ctx, place)
	if err != nil {
		return err
	}
	s := w.session
	if s.Checkpoint, err = checkpoint.Open(ctx, medium, s.bound); err != nil {
		return errors.Join(err, medium.Close())
	}
	if err = s.recordMove(ctx); err == nil && fill != nil {
		err = fill(ctx, s.Checkpoint, medium.Rejected())
	}
	if err != nil {
		return errors.Join(err, s.closeCheckpoint())
	}
	s.Rejects = migrate.NewRejects(medium.Rejected(), s.rejectsSize())
	return nil
}
