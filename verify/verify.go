// Package verify proves that Sentry can read from the target what the source
// has, or lists exactly what it cannot. It checks from outside what the other
// packages promise: that every node is there (promise 1), once behind the alias
// (2), byte for byte (3). It reads both sides and changes neither: a repair is
// handed to it, and is package repair's.
package verify

import (
	"context"
	"errors"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
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
	c := &comparison{run: r}
	measured := v.meter.run()
	err = c.compare(ctx)
	throughput := measured()
	if err != nil {
		return nil, err
	}
	report, err = (&reporter{comparison: c}).report(ctx)
	if err != nil {
		return nil, err
	}
	report.Throughput, report.Seconds = throughput, time.Since(started).Seconds()
	return report, nil
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
