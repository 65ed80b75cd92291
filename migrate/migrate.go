// Package migrate is the pipeline: slices of days are read by a pool of
// readers into batches, a pool of senders writes them, and a slice whose nodes
// all have their fate goes into the checkpoint. A day that is complete is
// sealed. It keeps promises 1 (one fate for each node), 4 (the checkpoint never
// runs ahead of the target), 7 (settings are borrowed) and 8 (bounded memory).
package migrate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Migration copies one source to one target.
type Migration struct {
	parts    Parts
	options  Options
	progress progress
	ledger   *ledger
}

// New prepares a migration. Nothing is read or written yet.
func New(parts Parts, options Options) *Migration {
	options = options.withDefaults(parts.Source)
	return &Migration{parts: parts, options: options, ledger: &ledger{
		Checkpoint: parts.Checkpoint, rejects: parts.Rejects, target: parts.Target, notify: options.Notify,
	}}
}

// Run copies all that is not copied yet, and returns what became of every node
// so far. After ErrInterrupted the same call resumes.
func (m *Migration) Run(ctx context.Context) (Summary, error) {
	return m.orderly(ctx, func(ctx context.Context) error {
		x, err := m.begin(ctx, nil)
		if err != nil {
			return err
		}
		err = x.compacting(ctx, func(ctx context.Context) error {
			if err := x.again(ctx, x.rejectUnbounded); err != nil {
				return err
			}
			both := &comparison{indices: x}
			p := &passes{copying{indices: x}, both}
			if err := p.catchUp(ctx); err != nil {
				return err
			}
			if err := x.again(ctx, both.retry); err != nil {
				return err
			}
			if err := x.again(ctx, both.run); err != nil {
				return err
			}
			return x.recordCompleted(ctx, p.now)
		})
		if err != nil {
			return err
		}
		return x.awaitReplicas(ctx)
	})
}

// CompactOnly compacts the days that are sealed, and copies nothing.
func (m *Migration) CompactOnly(ctx context.Context) (Summary, error) {
	options := m.options
	options.Compact = true
	x := m.indices(terms{Options: options})
	return m.orderly(ctx, func(ctx context.Context) error {
		return x.compacting(ctx, func(context.Context) error { return nil })
	})
}

// RunShard copies the days of a shard, and returns what became of their nodes.
// Late rows, stale copies and vanished nodes are left to the run that continues
// with the shards' checkpoints gathered. After ErrInterrupted the same call
// resumes.
func (m *Migration) RunShard(ctx context.Context, d Division, shard int) (Summary, error) {
	return m.orderly(ctx, func(ctx context.Context) error {
		x, err := m.begin(ctx, func(day node.Day) bool { return d.ShardOf(day) == shard })
		if err != nil {
			return err
		}
		return x.compacting(ctx, func(ctx context.Context) error {
			if shard == 0 { // they belong to no day
				if err := x.again(ctx, x.rejectUnbounded); err != nil {
					return err
				}
			}
			err = x.ledger.Update(ctx, func(state *checkpoint.State) {
				state.CopyUntil, state.CatchUp.Swept, state.CatchUp.Overlap = d.CopyUntil, d.Swept, x.overlap()
			})
			if err != nil {
				return err
			}
			c := &copying{indices: x, now: d.CopyUntil}
			return x.again(ctx, c.run)
		})
	})
}

// RestoreSettings gives back all settings that are borrowed, without copying.
func (m *Migration) RestoreSettings(ctx context.Context) (Summary, error) {
	started := time.Now()
	err := m.indices(terms{Options: m.options}).restore(ctx, func(string) bool { return true })
	return m.summarize(time.Since(started)), err
}

// stopGrace is how long what is open may take to come to its end when the run is
// to stop. What is not done then is sent again by the next run.
const stopGrace = 10 * time.Second

// orderly runs work, and ends it soon after Stop, whatever it waits for.
func (m *Migration) orderly(ctx context.Context, work func(context.Context) error) (Summary, error) {
	started := time.Now()
	err := orderly.Run(ctx, orderly.Stop{Asked: m.options.Stop, Grace: stopGrace, Err: ErrInterrupted}, work)
	return m.summarize(time.Since(started)), err
}

// begin checks the target before anything else is written, and settles what the run
// goes by. The checks have nothing to finish, so Stop ends them at once.
func (m *Migration) begin(ctx context.Context, ours func(node.Day) bool) (*indices, error) {
	var origins target.Origins
	codec := m.options.Shape.Codec
	m.ledger.View(func(state *checkpoint.State) {
		origins, codec = Origins(state.Binding), cmp.Or(codec, state.Shape.Codec)
	})
	err := orderly.Run(ctx, orderly.Stop{Asked: m.options.Stop, Err: ErrInterrupted}, func(ctx context.Context) error {
		if codec != "" { // before anything is written
			if err := m.parts.Target.CheckCodec(ctx, codec); err != nil {
				return err
			}
		}
		return prepareTarget(ctx, m.parts.Target, origins, m.options.Notify)
	})
	if err != nil {
		return nil, err
	}
	t, err := settle(ctx, m.options, m.parts.Checkpoint, ours)
	if err != nil {
		return nil, err
	}
	x := m.indices(t)
	return x, x.forgetLost(ctx)
}

func (m *Migration) indices(t terms) *indices {
	r := &run{terms: t, source: m.parts.Source, target: m.parts.Target, ledger: m.ledger, progress: &m.progress}
	return &indices{r, &stale{run: r}, func() {}}
}

// rejectUnbounded rejects by name the rows that belong to no day. Each run looks
// for them again: they may come at any time.
func (r *run) rejectUnbounded(ctx context.Context) error {
	var found []Rejected
	err := r.source.Unbounded(ctx, func(id []byte, timestamp string) error {
		found = append(found, Rejected{ID: string(id), Timestamp: timestamp, Reason: ReasonTimestamp})
		return nil
	})
	if err != nil {
		return err
	}
	unbounded := node.Fates{node.Rejected: int64(len(found))}
	var known node.Fates
	r.ledger.View(func(state *checkpoint.State) {
		if state.Unbounded != nil {
			known = *state.Unbounded
		}
	})
	if unbounded.Sum() == 0 && known.Sum() == 0 {
		return nil
	}
	return r.ledger.rejects.commit(ctx, found, nil, func(size RejectsSize) error {
		return r.ledger.Update(ctx, func(state *checkpoint.State) {
			state.Unbounded, state.Rejected = &unbounded, checkpoint.Rejected(size)
		})
	})
}

// recordCompleted keeps what a run that came to its end has seen.
func (r *run) recordCompleted(ctx context.Context, now int64) error {
	return r.ledger.Update(ctx, func(state *checkpoint.State) {
		state.CatchUp.Completed = &checkpoint.Completed{
			Until: now, At: time.Now().UTC(), Switched: r.SwitchedAt != 0,
			Whole: r.Since <= node.MinDay && r.Until > node.MaxDay,
		}
	})
}

// awaitReplicas waits for the copies of the sealed days' shards, if asked to.
func (r *run) awaitReplicas(ctx context.Context) error {
	if r.Replicas == 0 {
		return nil
	}
	var names []string
	r.ledger.View(func(state *checkpoint.State) {
		for _, d := range state.Days {
			if d.Stands() {
				names = append(names, d.Index)
			}
		}
	})
	deadline := time.Now().Add(r.Replicas)
	for _, name := range names {
		green, err := r.target.Green(ctx, name, time.Until(deadline))
		if err != nil {
			return err
		}
		if !green {
			return hint.Add(fmt.Errorf("index %s still lacks replicas after %s", name, r.Replicas),
				"all nodes are copied; _cluster/allocation/explain says what is missing; run again to keep waiting")
		}
	}
	return nil
}

func (m *Migration) summarize(took time.Duration) Summary {
	s := Summary{Seconds: took.Seconds(), Lost: []LostDay{}, RejectedFile: m.parts.Rejects.Path()}
	s.Run.Nodes, s.Run.Bytes = m.progress.sentNodes.Load(), m.progress.sentBytes.Load()
	s.Missing, s.Doubled = m.progress.missing.Load(), m.progress.doubled.Load()
	m.ledger.View(func(state *checkpoint.State) {
		if state.Unbounded != nil {
			s.Fates.Add(*state.Unbounded)
		}
		for _, name := range slices.Sorted(maps.Keys(state.Days)) {
			d := state.Days[name]
			if !d.Lost.IsZero() {
				n, _ := node.ParseDay(name) // the checkpoint was checked when it was read
				s.Lost = append(s.Lost, LostDay{Day: name, Index: m.parts.Target.Backend().IndexOf(n), Nodes: d.Fates[node.Lost]})
			}
			s.Fates.Add(d.Fates)
			s.Bytes += d.Bytes
			s.Days++
			if !d.Sealed.IsZero() {
				s.Sealed++
			}
		}
		s.Borrowed = len(state.Borrowed)
	})
	s.Read = s.Fates.Sum()
	return s
}

// Progress may be called at any time from any goroutine.
func (m *Migration) Progress() Progress {
	p := &m.progress
	return Progress{
		PlannedBytes: p.plannedBytes.Load(), PlannedNodes: p.plannedNodes.Load(),
		DoneBytes: p.doneBytes.Load(), DoneNodes: p.doneNodes.Load(),
		SentBytes: p.sentBytes.Load(), SentNodes: p.sentNodes.Load(),
	}
}
