// Package verify proves that Sentry can read from the target what the source
// has, or lists exactly what it cannot. It checks from outside what the other
// packages promise: that every node is there (promise 1), once behind the alias
// (2), byte for byte (3). It reads both sides and changes neither: a repair is
// handed to it, and is package repair's.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// ErrInterrupted means that the run was asked to stop, has recorded what it
// did, and can be resumed.
var ErrInterrupted = errors.New("interrupted")

// Parts are what a Verification compares. They stay the caller's to close.
type Parts struct {
	Source     *source.Source
	Target     *target.Target
	Checkpoint *checkpoint.Checkpoint
}

// Verification compares one source with one target.
type Verification struct {
	parts   Parts
	options Options
	meter   meter
}

// New prepares a verification. Nothing is asked yet.
func New(parts Parts, options Options) *Verification {
	return &Verification{parts: parts, options: options.withDefaults()}
}

// stopGrace is how long payloads that are being compared may take to their end
// when the run is to stop. What is not recorded then is compared again.
const stopGrace = 3 * time.Second

// Run compares, and returns what was found. After ErrInterrupted the same call
// resumes. An error means that not everything could be compared: whatever the
// report says then, it proves nothing.
func (v *Verification) Run(ctx context.Context) (report *Report, err error) {
	stop := orderly.Stop{Asked: v.options.Stop, Grace: stopGrace, Err: ErrInterrupted}
	err = orderly.Run(ctx, stop, func(ctx context.Context) (err error) {
		report, err = v.run(ctx)
		return err
	})
	return report, err
}

func (v *Verification) run(ctx context.Context) (report *Report, err error) {
	started := time.Now()
	r, err := begin(ctx, v.parts, v.options, &v.meter)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.record.findings.file.Close()) }()
	measured := v.meter.run()
	compared, err := r.compare(ctx)
	compared.throughput = measured()
	if err != nil {
		return nil, err
	}
	report, err = r.report(ctx, compared)
	if report != nil {
		report.Seconds = time.Since(started).Seconds()
	}
	return report, err
}

// compare goes through the levels, repairs if it was asked to, and looks at the
// rows that the last pass of the migration did not know.
func (r *run) compare(ctx context.Context) (c comparison, err error) {
	if r.Level == Counts {
		if err := r.compareCounts(ctx); err != nil {
			return c, err
		}
		return c, r.finish(ctx)
	}
	if err := r.compareIDs(ctx); err != nil {
		return c, err
	}
	if r.Level == Full {
		if err := r.compareAll(ctx); err != nil {
			return c, err
		}
	}
	if err := r.finish(ctx); err != nil {
		return c, err
	}
	if c.repairs, err = r.repair(ctx); err != nil {
		return c, err
	}
	c.ahead, err = r.compareAhead(ctx)
	return c, err
}

// finish records that nothing is left, if that is so: after a subset, the
// others are. What is asked for next is compared again.
func (r *run) finish(ctx context.Context) error {
	if !r.complete() {
		return nil
	}
	return r.record.Update(ctx, func(s *checkpoint.State) { s.Verify.Complete = true })
}

// Undelivered has the same command resume this run, which has come to its end: its
// report did not reach whom it is for.
func (v *Verification) Undelivered(ctx context.Context) error {
	return v.parts.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		if s.Verify != nil {
			s.Verify.Complete = false
		}
	})
}

// Progress may be called at any time, from any goroutine.
func (v *Verification) Progress() Progress {
	return Progress{PlannedNodes: v.meter.planned.Load(), Nodes: v.meter.nodes.Load(), Bytes: v.meter.bytes.Load()}
}

// CheckWritable makes sure that a file can be written, before work begins whose
// result it is to hold. It leaves no new file behind.
func CheckWritable(path string) error {
	_, err := os.Stat(path)
	absent := errors.Is(err, fs.ErrNotExist)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err == nil && absent {
		err = os.Remove(path)
	}
	if err != nil {
		return hint.Add(fmt.Errorf("check that a file can be written: %w", err), "name a file in a directory that exists and can be written to; nothing was compared")
	}
	return nil
}
