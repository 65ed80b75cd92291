package plan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/inspect"
)

// ProbeRun is a short real measurement: nodes of the newest days were read,
// checked and written to a scratch index, which is removed.
type ProbeRun struct {
	Nodes      int64   `json:"nodes"`
	Bytes      int64   `json:"bytes"` // of data, as the source stores it
	Seconds    float64 `json:"seconds"`
	StoreBytes int64   `json:"store_bytes"` // of the scratch index, flushed
}

const (
	// probeBytes and probeTime end a measurement, whichever comes first.
	probeBytes = 256 << 20
	probeTime  = 20 * time.Second
	// probeBatch is migrate's default.
	probeBatch = 8 << 20
	// removeTime is how long the scratch index may take to go, also after an
	// interrupt.
	removeTime = 30 * time.Second
)

var errEnough = errors.New("measured enough")

// check changes the target for its duration: it is the one step that does.
func (p *prober) check(ctx context.Context) {
	if !p.config.Probe {
		return
	}
	if p.source == nil || p.target == nil || p.to.preview == nil || len(p.plan.Days) == 0 {
		p.unknown(Forecast, "probe", "not measured: the checks before say why", "")
		return
	}
	run, err := p.measure(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.refuseUnlessHidden(Forecast, "probe", hint.Add(fmt.Errorf("measure: %w", err), hint.Of(err)), "not measured; a scratch index has a name of its own, so this says little about the daily indices")
		}
		return
	}
	p.plan.Probe = &run
	p.ok(Forecast, "probe", fmt.Sprintf("%d nodes, %s in %.1f s; the scratch index is removed", run.Nodes, amount.Size(run.Bytes), run.Seconds))
}

func (p *prober) measure(ctx context.Context) (run ProbeRun, err error) {
	scratch, err := inspect.CreateScratch(ctx, p.target, p.plan.Days[len(p.plan.Days)-1].planned)
	if err != nil {
		return ProbeRun{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
		defer cancel()
		err = errors.Join(err, inspect.RemoveScratch(ctx, p.target, scratch))
	}()
	p.scratch, p.loads, p.empty = scratch, make(chan *target.Batch), make(chan *target.Batch, p.config.Senders+1)
	if err := p.pump(ctx); err != nil {
		return ProbeRun{}, err
	}
	if err := p.target.Refresh(ctx, scratch.Name); err != nil {
		return ProbeRun{}, err
	}
	if err := p.target.Flush(ctx, scratch.Name); err != nil {
		return ProbeRun{}, err
	}
	p.result.StoreBytes, err = inspect.StoreBytes(ctx, p.target, scratch.Name)
	return p.result, err
}

// prober is a small pipeline: one reader, several senders, batches in between.
type prober struct {
	*run
	to      *targetSide
	scratch target.Index
	loads   chan *target.Batch
	empty   chan *target.Batch
	batch   *target.Batch // being filled
	checker *node.Checker
	begun   time.Time
	result  ProbeRun
}

func (p *prober) pump(ctx context.Context) error {
	for range cap(p.empty) {
		p.empty <- target.NewBatch(probeBatch)
	}
	p.checker, p.begun = node.NewChecker(node.Quick), time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range cap(p.empty) - 1 {
		group.Go(func() error { return p.send(ctx) })
	}
	group.Go(func() error {
		defer close(p.loads)
		err := p.read(ctx)
		if err == nil || errors.Is(err, errEnough) {
			return p.push(ctx)
		}
		return err
	})
	err := group.Wait()
	p.result.Seconds = time.Since(p.begun).Seconds()
	return err
}

func (p *prober) send(ctx context.Context) error {
	for batch := range p.loads {
		if _, err := p.target.Write(ctx, p.scratch, batch); err != nil {
			return err
		}
		p.empty <- batch
	}
	return ctx.Err()
}

// read streams the newest days until enough was read.
func (p *prober) read(ctx context.Context) error {
	for i := len(p.plan.Days) - 1; i >= 0; i-- {
		day := p.plan.Days[i].planned
		if err := p.source.Stream(ctx, day.Start(), day.End(), func(n node.Node) error { return p.add(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

func (p *prober) add(ctx context.Context, n node.Node) error {
	if p.result.Bytes >= probeBytes || time.Since(p.begun) >= probeTime {
		return errEnough
	}
	if p.batch != nil && p.batch.Len() > 0 && p.batch.Size()+p.batch.Room(n) > probeBatch {
		if err := p.push(ctx); err != nil {
			return err
		}
	}
	if p.batch == nil {
		select {
		case p.batch = <-p.empty:
			p.batch.Reset(target.Versioned)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.batch.Append(n, p.checker)
	p.result.Nodes++
	p.result.Bytes += int64(len(n.Data))
	return nil
}

func (p *prober) push(ctx context.Context) error {
	if p.batch == nil {
		return nil
	}
	select {
	case p.loads <- p.batch:
		p.batch = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
