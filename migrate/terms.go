package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
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
	// Retry are the reasons for which rejected nodes are sent again.
	Retry []node.Reason
	// CopyAgain are lost days that are to be copied again.
	CopyAgain []node.Day
	// Budget is how many nodes may be rejected before the run stops.
	Budget Budget
	// Shape is what the indices of past days are made like, where that is not what
	// the template says; as it was last given.
	Shape target.Shape
	// Compact merges the past days that this tool made to one segment a shard, in
	// the background, once they are sealed.
	Compact bool
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
	// DefaultOverlap is how long a row may take from its timestamp to its commit:
	// clocks differ, and transactions are long. It is also how long after a
	// day's end Sentry may still write to that day.
	DefaultOverlap = 15 * time.Minute
	// KeepAll is the Retention of a Sentry that keeps everything.
	KeepAll = -1
)

// Gate lets bulk requests start, one for each sender at most.
type Gate interface {
	// Enter waits until a request of so many bytes may start. Unless it returns
	// an error, Leave follows.
	Enter(ctx context.Context, bytes int) error
	// Leave says how long the request took.
	Leave(bytes int, took time.Duration)
	// Calm waits until nothing holds requests back.
	Calm(ctx context.Context) error
	// BatchBytes is how large a request's body should be now, and never more
	// than Options.BatchBytes.
	BatchBytes() int
}

// openGate lets everything through.
type openGate int

func (openGate) Enter(context.Context, int) error { return nil }
func (openGate) Leave(int, time.Duration)         {}
func (openGate) Calm(context.Context) error       { return nil }
func (g openGate) BatchBytes() int                { return int(g) }

// withDefaults fills in what was left out.
func (o Options) withDefaults(from *source.Source) Options {
	if o.BatchBytes == 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	if o.Gate == nil {
		o.Gate = openGate(o.BatchBytes)
	}
	if o.Now == nil {
		o.Now = from.Now
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	o.Readers, o.Senders = max(o.Readers, 1), max(o.Senders, 1)
	if o.Since == 0 {
		o.Since = node.MinDay
	}
	if o.Until == 0 {
		o.Until = node.MaxDay + 1
	}
	if o.Overlap == 0 {
		o.Overlap = DefaultOverlap
	}
	return o
}

// terms are what a run goes by: its options, and what earlier runs settled.
// They are the same from its beginning to its end.
type terms struct {
	Options
	origins target.Origins      // what is written into new indices, and what else the source was called
	ours    func(node.Day) bool // whether a day is this process's to copy
}

// settle agrees with the checkpoint on what belongs to the migration and not to
// one run of it, so that later runs need not be told again.
func settle(ctx context.Context, o Options, c *checkpoint.Checkpoint, ours func(node.Day) bool) (t terms, err error) {
	t = terms{Options: o, ours: ours}
	var recorded checkpoint.CatchUp
	var shape checkpoint.Shape
	c.View(func(state *checkpoint.State) {
		t.origins = Origins(state.Binding)
		recorded.SwitchedAt, recorded.Retention, shape = state.CatchUp.SwitchedAt, state.CatchUp.Retention, state.Shape
	})
	if t.SwitchedAt, err = settleSwitch(ctx, o, c, recorded.SwitchedAt); err != nil {
		return t, err
	}
	if t.Retention = recorded.Retention; o.Retention != 0 {
		t.Retention = max(o.Retention, 0)
	}
	t.Shape = target.Shape(checkpoint.Shape(o.Shape).Or(shape))
	if t.Retention == recorded.Retention && t.Shape == target.Shape(shape) {
		return t, nil
	}
	return t, c.Update(ctx, func(state *checkpoint.State) {
		state.CatchUp.Retention, state.Shape = t.Retention, checkpoint.Shape(t.Shape)
	})
}

func settleSwitch(ctx context.Context, o Options, c *checkpoint.Checkpoint, recorded int64) (int64, error) {
	given := o.SwitchedAt
	if given == 0 || given == recorded {
		return recorded, nil
	}
	if recorded != 0 {
		return 0, hint.Add(fmt.Errorf("the switch is recorded at %s, and said to be at %s now", isoTime(recorded), isoTime(given)),
			"leave the time of the switch out: the checkpoint knows it")
	}
	now, err := o.Now(ctx)
	if err != nil {
		return 0, err
	}
	// A standby's clock is behind, so this machine's own counts too.
	if now = max(now, time.Now().UnixMicro()); given > now {
		return 0, hint.Add(fmt.Errorf("the switch is said to be at %s, and it is %s now", isoTime(given), isoTime(now)),
			"name a moment before the first process with the new configuration started, in UTC or with its time zone: 2025-09-01T14:30:00+02:00")
	}
	var copied int64
	err = c.Update(ctx, func(state *checkpoint.State) {
		copied = state.CopyUntil
		state.CatchUp.SwitchedAt, state.CatchUp.Before = given, copied != 0 && state.Started.UnixMicro() < given
	})
	if err == nil && copied > given {
		o.Notify(Event{Kind: Warning, Cause: fmt.Sprintf("the switch at %s is from before an earlier run ended, at %s: of rows between the two that were written again since, "+
			"the documents of that run stay, because they cannot be told from Sentry's own", isoTime(given), isoTime(copied))})
	}
	return given, err
}

func (t terms) overlap() int64 { return t.Options.Overlap.Microseconds() }

func (t terms) stopped() bool { return isClosed(t.Stop) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// covered reports whether Sentry's cleanup may have dropped a day's index by
// now: only a retention that was given says so.
func (t terms) covered(n node.Day, now int64) bool {
	return t.Retention > 0 && n.Start() < now-int64(t.Retention)*dayMicros
}

// firstKept is the first timestamp that is copied.
func (t terms) firstKept(now int64) int64 {
	first := t.Since.Start()
	if t.Retention > 0 {
		first = max(first, now-int64(t.Retention)*dayMicros)
	}
	return first
}

// switched reports whether a time is after the switch. What a row with such a
// timestamp left must not be taken for what Sentry wrote.
func (t terms) switched(micros int64) bool { return t.SwitchedAt != 0 && micros > t.SwitchedAt }

// swept is the time before which ids are in one day only, once a pass is over
// that began with another such time.
func (t terms) swept(before, now int64) int64 {
	if before == checkpoint.NeverSwept && t.Since > node.MinDay {
		return before // nobody looked at the days before
	}
	return min(now, t.Until.Start())
}

// Origins are those of the source that a checkpoint is bound to: what it is, and
// what it was on other servers.
func Origins(b checkpoint.Binding) target.Origins {
	var origins target.Origins
	for _, s := range append([]node.Origin{b.Source}, b.Earlier...) {
		origins = append(origins, target.Origin{Origin: s})
	}
	return origins
}
