// Package verify proves that Sentry can read from the target what the source
// has, or lists exactly what it cannot. It checks from outside what the other
// packages promise: that every node is there (promise 1), once behind the alias
// (2), byte for byte (3). It reads both sides and, unless it is asked to
// repair, changes neither.
package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// ErrInterrupted means that the run was asked to stop, has recorded what it
// did, and can be resumed.
var ErrInterrupted = errors.New("interrupted")

// Level is how much is compared. Each level includes those before it.
type Level string

// The levels.
const (
	Counts Level = "counts" // rows and documents of each day
	IDs    Level = "ids"    // every node: there, once, in its day, and nothing else
	Sample Level = "sample" // and the payloads of a random sample
	Full   Level = "full"   // and every payload
)

// Subset is one of several disjoint parts of the payloads. The zero value is
// all of them.
type Subset struct{ Part, Of int }

// Options say what to compare. Zero values stand for defaults.
type Options struct {
	Level      Level
	Since      node.Day      // first day to compare; 0 for all
	Until      node.Day      // first day not to compare; 0 for all
	Confidence float64       // of the bound; 0.95
	MaxDefects float64       // share of the nodes that a clean sample rules out; 0.00003
	Seed       uint64        // which nodes are drawn
	Subset     Subset        // of the payloads, for Full
	Accept     []node.Reason // reasons for which rejected nodes are given up
	GiveUp     int64         // rows out of retention that are given up, at most
	Repair     RepairMode    // what to do about findings
	Workers    int           // questions that are asked at the same time; 4

	// RejectedList is the file in which the migration lists rejected nodes, and
	// Findings the one in which the verification lists what it finds.
	RejectedList, Findings string

	// Pauses are the waits before a suspect is looked at again; it is blamed
	// after the last. By default 0.5, 1 and 2 seconds: more than a refresh takes.
	Pauses []time.Duration
	// Stop, when it is closed, ends the run within seconds; what is recorded stays.
	Stop <-chan struct{}
	// Notify is told what happens. It may be called by several goroutines.
	Notify func(Event)
}

// Defaults of Options. A share of 0.003 % makes a sample of about 100,000 nodes.
const (
	DefaultConfidence = 0.95
	DefaultMaxDefects = 0.00003
	defaultWorkers    = 4
)

func (o *Options) fill() {
	if o.Level == "" {
		o.Level = Sample
	}
	if o.Confidence == 0 {
		o.Confidence = DefaultConfidence
	}
	if o.MaxDefects == 0 {
		o.MaxDefects = DefaultMaxDefects
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Pauses == nil {
		o.Pauses = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	if o.Until == 0 {
		o.Until = math.MaxInt32
	}
}

// Parts are what a Verification compares. They stay the caller's to close.
type Parts struct {
	Source     *source.Source
	Target     *target.Target
	Checkpoint *checkpoint.Checkpoint
}

// Verification compares one source with one target.
type Verification struct {
	Parts
	options  Options
	rejected rejections
	findings *findings
	scope    scope
	meter    meter
	started  time.Time
	seed     uint64 // of this run's sample

	repairs  map[string]int64      // what a repair did
	compared map[node.Day]Compared // of all payloads, before a repair
	ahead    tally                 // rows that the last pass of the migration did not know, with a sound document
}

// New prepares a verification. Nothing is asked yet.
func New(parts Parts, options Options) *Verification {
	options.fill()
	return &Verification{Parts: parts, options: options}
}

// Run compares, and returns what was found. After ErrInterrupted the same call
// resumes. An error means that not everything could be compared: whatever the
// report says then, it proves nothing.
func (v *Verification) Run(ctx context.Context) (report *Report, err error) {
	err = orderly.Run(ctx, orderly.Stop{Asked: v.options.Stop, Grace: stopGrace, Err: ErrInterrupted}, func(ctx context.Context) (err error) {
		report, err = v.run(ctx)
		return err
	})
	return report, err
}

// stopGrace is how long payloads that are being compared may take to their end
// when the run is to stop. What is not recorded then is compared again.
const stopGrace = 3 * time.Second

func (v *Verification) run(ctx context.Context) (report *Report, err error) {
	v.started = time.Now()
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.findings.close()) }()
	stop := v.meter.run(time.Now)
	err = v.compare(ctx)
	stop()
	if err != nil {
		return nil, err
	}
	return v.report(ctx)
}

// compare goes through the levels.
func (v *Verification) compare(ctx context.Context) error {
	if v.options.Level == Counts {
		return v.compareCounts(ctx)
	}
	if err := v.compareIDs(ctx); err != nil {
		return err
	}
	if v.options.Level == Full {
		if err := v.compareAll(ctx); err != nil {
			return err
		}
	}
	if err := v.finish(ctx); err != nil {
		return err
	}
	if err := v.repair(ctx); err != nil {
		return err
	}
	return v.compareAhead(ctx)
}

// begin learns what there is to compare, and continues the record of an earlier
// run that was asked for the same.
func (v *Verification) begin(ctx context.Context) error {
	if err := CheckWritable(v.options.Findings); err != nil {
		return err
	}
	var size int64
	v.Checkpoint.View(func(s *checkpoint.State) { size = s.Rejected.List })
	var err error
	if v.rejected, err = readRejections(v.options.RejectedList, size); err != nil {
		return err
	}
	if v.scope, err = v.readScope(ctx); err != nil {
		return err
	}
	if err := v.resume(ctx); err != nil {
		return err
	}
	v.meter.planned.Store(v.comparisons())
	return nil
}

// comparisons is about how many ids and payloads are left to this run.
func (v *Verification) comparisons() (n int64) {
	for _, d := range v.scope.days {
		rows := float64(d.rows)
		if v.options.Level == Counts || !v.recorded(d.day) {
			n += d.rows
			if v.options.Level == Sample {
				n += int64(rows * v.rate())
			}
		}
		if v.options.Level == Full {
			for _, s := range v.stretches(d) {
				n += int64(rows * float64(s.to-s.from) / float64(d.to-d.from))
			}
		}
	}
	return n
}

// Progress may be called at any time, from any goroutine.
func (v *Verification) Progress() Progress {
	return Progress{PlannedNodes: v.meter.planned.Load(), Nodes: v.meter.nodes.Load(), Bytes: v.meter.bytes.Load()}
}

func (v *Verification) stopped() bool {
	select {
	case <-v.options.Stop:
		return true
	default:
		return false
	}
}

// maxTries is how often a question is asked again; with the pauses between
// them that is about five minutes.
const maxTries = 15

// again asks until there is an answer: a standby that cancels a query, a
// connection that breaks, or a busy cluster are not findings.
func (v *Verification) again(ctx context.Context, ask func() error) error {
	for try := 1; ; try++ {
		err := ask()
		if err == nil || ctx.Err() != nil || try == maxTries || !source.Retryable(err) {
			return err
		}
		pause := min(250*time.Millisecond<<try, 30*time.Second)
		pause = pause/2 + rand.N(pause/2)
		v.options.Notify(Event{Kind: Waiting, Cause: err.Error(), Pause: pause})
		if err := orderly.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

func notMigrated() error {
	return hint.Add(errors.New("nothing was copied with this checkpoint"), "run migrate first, or name its file with --checkpoint")
}

func isoTime(micros int64) string { return string(node.AppendTimestamp(nil, micros)) }

func isoMillis(millis int64) string {
	if millis < 0 {
		return "no timestamp"
	}
	return fmt.Sprintf("%.23sZ", isoTime(millis*1000))
}
