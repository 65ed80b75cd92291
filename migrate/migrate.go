// Package migrate is the pipeline: slices of days are read by a pool of
// readers into batches, a pool of senders writes them, and a slice whose nodes
// all have their fate goes into the checkpoint. A day that is complete is
// sealed. It keeps promises 1 (one fate for each node), 4 (the checkpoint never
// runs ahead of the target), 7 (settings are borrowed) and 8 (bounded memory).
package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// ErrInterrupted means that the run was asked to stop, finished the slices
// that were open, and can be resumed.
var ErrInterrupted = errors.New("interrupted")

// Options say how to copy. The zero value of a number stands for its default.
type Options struct {
	Readers     int        // connections that read at the same time
	Senders     int        // bulk requests that are under way at the same time
	BatchBytes  int        // size of a bulk request's body in bytes
	Depth       node.Depth // how far each payload is checked
	OldestFirst bool       // order of the days; the default is newest first
	Since       node.Day   // first day to copy; 0 for all
	Until       node.Day   // first day not to copy; 0 for all
	Retention   int        // days that Sentry keeps; older ones are counted, not copied; 0: as it was last given; or KeepAll
	SwitchedAt  int64      // when Sentry began to write to the target, µs since 1970; 0: it has not

	// RemoveVanished removes what was deleted at the source even if it is a
	// large part of all, a whole day, or deleted since the switch.
	RemoveVanished bool
	// CopyMissing copies rows that have no document also after the switch, when
	// Sentry may have deleted them.
	CopyMissing bool
	// CopyAgain are lost days that are to be copied again.
	CopyAgain []node.Day
	// Budget is how many nodes may be rejected before the run stops.
	Budget Budget
	// Replicas is how long to wait at the end until the sealed days have theirs.
	Replicas time.Duration

	// Follow continues with passes after nothing new was found, until it was
	// quiet for QuietFor, or for ever if that is 0.
	Follow   bool
	QuietFor time.Duration
	// Overlap is how far each pass looks back behind the one before, for rows
	// that were committed late. 0 stands for DefaultOverlap.
	Overlap time.Duration

	// Now is the clock, in µs since 1970; by default that of the source's server.
	Now func(context.Context) (int64, error)
	// Gate holds requests back; without one they start at once.
	Gate Gate
	// Stop, when it is closed, ends the run after the slices that are open.
	Stop <-chan struct{}
	// Notify is told what happens. It may be called by several goroutines.
	Notify func(Event)
}

const (
	// DefaultBatchBytes is where the measured servers stop gaining from larger
	// requests; docs/benchmark.md has the figures.
	DefaultBatchBytes = 8 << 20
	// batchesPerSlice makes a slice worth a few batches: long enough that the
	// last, partly filled one does not matter, short enough that a transaction
	// lasts seconds and a crash costs little.
	batchesPerSlice = 4
	// DefaultOverlap is how long a row may take from its timestamp to its commit:
	// clocks differ, and transactions are long. It is also how long after a
	// day's end Sentry may still write to that day.
	DefaultOverlap = 15 * time.Minute
)

// Gate lets bulk requests start, one for each sender at most.
type Gate interface {
	// Enter waits until a request of so many bytes may start. Unless it returns
	// an error, Leave follows.
	Enter(ctx context.Context, bytes int) error
	// Leave says how long the request took.
	Leave(bytes int, took time.Duration)
	// BatchBytes is how large a request's body should be now, and never more
	// than Options.BatchBytes.
	BatchBytes() int
}

// openGate lets everything through.
type openGate int

func (openGate) Enter(context.Context, int) error { return nil }
func (openGate) Leave(int, time.Duration)         {}
func (g openGate) BatchBytes() int                { return int(g) }

// Migration copies one source to one target.
type Migration struct {
	source     *source.Source
	target     *target.Target
	checkpoint *checkpoint.Checkpoint
	rejects    *Rejects
	options    Options
	commits    atomic.Int64 // of slices, by this process
	progress   progress
	spent      spent
	ours       func(node.Day) bool // whether a day is this process's to copy; nil: all are
	origins    target.Origins      // what is written into new indices, and what else the source was called

	now     int64              // the source's clock when the present pass began, µs
	windows []checkpoint.Range // before the ends of earlier passes, whose late rows are still to be looked for

	written       checkpoint.Marks    // nodes whose documents are known to be ours
	oldest        int64               // timestamp of the rows that this pass copies by slices, if ids repeat, µs
	known         checkpoint.Marks    // nodes that had their fate when the present pass began
	doubled       map[string]struct{} // ids that were seen in several indices by this pass
	counted       bool                // what is out of retention was counted by this run
	sweptSwitched int64               // what Sentry wrote before, in µs, was looked for in other days
}

// Parts are what a Migration works with. They stay the caller's to close.
type Parts struct {
	Source     *source.Source
	Target     *target.Target
	Checkpoint *checkpoint.Checkpoint
	Rejects    *Rejects
}

// New prepares a migration. Nothing is read or written yet.
func New(parts Parts, options Options) *Migration {
	if options.BatchBytes == 0 {
		options.BatchBytes = DefaultBatchBytes
	}
	if options.Gate == nil {
		options.Gate = openGate(options.BatchBytes)
	}
	if options.Now == nil {
		options.Now = parts.Source.Now
	}
	if options.Notify == nil {
		options.Notify = func(Event) {}
	}
	options.Readers, options.Senders = max(options.Readers, 1), max(options.Senders, 1)
	if options.Since == 0 {
		options.Since = node.MinDay
	}
	if options.Until == 0 {
		options.Until = node.MaxDay + 1
	}
	if options.Overlap == 0 {
		options.Overlap = DefaultOverlap
	}
	m := &Migration{
		source: parts.Source, target: parts.Target, checkpoint: parts.Checkpoint, rejects: parts.Rejects,
		options: options,
	}
	parts.Checkpoint.View(func(state *checkpoint.State) {
		m.origins = Origins(state.Binding)
	})
	return m
}

// Run copies all that is not copied yet, and returns what became of every node
// so far. After ErrInterrupted the same call resumes.
func (m *Migration) Run(ctx context.Context) (Summary, error) {
	return m.orderly(ctx, m.run)
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

func (m *Migration) run(ctx context.Context) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	if err := m.again(ctx, m.rejectUnbounded); err != nil {
		return err
	}
	if err := m.catchUp(ctx); err != nil {
		return err
	}
	if err := m.again(ctx, m.compareSides); err != nil {
		return err
	}
	if err := m.recordCompleted(ctx); err != nil {
		return err
	}
	return m.awaitReplicas(ctx)
}

// begin records what belongs to the migration and not to one run of it.
func (m *Migration) begin(ctx context.Context) error {
	if err := m.recordSwitch(ctx); err != nil {
		return err
	}
	if err := m.recordRetention(ctx); err != nil {
		return err
	}
	return m.copyAgain(ctx)
}

// awaitReplicas waits for the copies of the sealed days' shards, if asked to.
func (m *Migration) awaitReplicas(ctx context.Context) error {
	if m.options.Replicas == 0 {
		return nil
	}
	var names []string
	m.checkpoint.View(func(state *checkpoint.State) {
		for _, d := range state.Days {
			if !d.Sealed.IsZero() && d.Dropped.IsZero() && d.Lost.IsZero() && d.Index != "" {
				names = append(names, d.Index)
			}
		}
	})
	deadline := time.Now().Add(m.options.Replicas)
	for _, name := range names {
		green, err := m.target.Green(ctx, name, time.Until(deadline))
		if err != nil {
			return err
		}
		if !green {
			return hint.Add(fmt.Errorf("index %s has not all its replicas after %s", name, m.options.Replicas),
				"all nodes are copied; look at _cluster/allocation/explain, and run again to wait again")
		}
	}
	return nil
}

// rejectUnbounded rejects by name the rows that belong to no day. Each run looks
// for them again: they may come at any time.
func (m *Migration) rejectUnbounded(ctx context.Context) error {
	var found []Rejected
	var unbounded int64
	err := m.source.Unbounded(ctx, func(id []byte, timestamp string) error {
		unbounded++
		found = append(found, Rejected{ID: string(id), Timestamp: timestamp, Reason: ReasonTimestamp})
		return nil
	})
	if err != nil {
		return err
	}
	var known int64
	m.checkpoint.View(func(state *checkpoint.State) {
		if state.Unbounded != nil {
			known = state.Unbounded[node.Rejected]
		}
	})
	if len(found) == 0 && known == 0 {
		return nil
	}
	return m.rejects.commit(ctx, found, nil, func(size RejectsSize) error {
		return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
			state.Unbounded = &node.Fates{node.Rejected: unbounded}
			state.Rejected = checkpoint.Rejected(size)
		})
	})
}

// restoreOthers gives back what a crashed run borrowed for days that this run
// is not about. The others get it back when they are sealed.
func (m *Migration) restoreOthers(ctx context.Context, days []*day) error {
	ours := make(map[string]bool, len(days))
	for _, d := range days {
		ours[d.name()] = true
	}
	return m.restore(ctx, func(index string) bool { return !ours[index] })
}

// RestoreSettings gives back all settings that are borrowed, without copying.
func (m *Migration) RestoreSettings(ctx context.Context) error {
	return m.restore(ctx, func(string) bool { return true })
}

func (m *Migration) restore(ctx context.Context, wanted func(index string) bool) error {
	borrowed := make(map[string]checkpoint.Borrowed)
	m.checkpoint.View(func(state *checkpoint.State) {
		for index, loan := range state.Borrowed {
			if wanted(index) {
				borrowed[index] = loan
			}
		}
	})
	for name, loan := range borrowed {
		if err := m.endLoan(ctx, name, loan); err != nil {
			return err
		}
	}
	return nil
}

// lent reports whether an index is the one that a loan is from. Before its uuid
// is recorded, its loading alias tells: only this tool makes one.
func lent(index target.Index, loan checkpoint.Borrowed) bool {
	if loan.UUID == "" {
		return index.Origin != nil && index.Loading()
	}
	return loan.UUID == index.UUID
}

// endLoan gives back what an index has lent, and forgets the loan.
func (m *Migration) endLoan(ctx context.Context, name string, loan checkpoint.Borrowed) error {
	day, _ := m.target.Backend().DayOf(name)
	index, there, err := m.target.Daily(ctx, day)
	if err == nil && there {
		err = m.giveBack(ctx, index, loan)
	}
	if err != nil {
		return err
	}
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) { delete(state.Borrowed, name) })
	if err == nil {
		m.notify(Event{Kind: Restored, Index: name})
	}
	return err
}

func (m *Migration) notify(e Event) { m.options.Notify(e) }

func (m *Migration) stopped() bool {
	select {
	case <-m.options.Stop:
		return true
	default:
		return false
	}
}

func (m *Migration) summarize(took time.Duration) Summary {
	s := Summary{Type: "summary", Seconds: took.Seconds(), RejectedFile: m.rejects.Path()}
	s.Run.Nodes, s.Run.Bytes = m.progress.sentNodes.Load(), m.progress.sentBytes.Load()
	s.Missing, s.Doubled = m.progress.missing.Load(), m.progress.doubled.Load()
	m.checkpoint.View(func(state *checkpoint.State) {
		if state.Unbounded != nil {
			s.Fates.Add(*state.Unbounded)
		}
		for _, name := range slices.Sorted(maps.Keys(state.Days)) {
			d := state.Days[name]
			if !d.Lost.IsZero() {
				n, _ := node.ParseDay(name) // the checkpoint was checked when it was read
				s.Lost = append(s.Lost, LostDay{Day: name, Index: m.target.Backend().IndexOf(n), Nodes: d.Fates[node.Lost]})
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

// wrap names the day that an error is about.
func wrap(d *day, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("copy day %s: %w", d.day, err)
}
