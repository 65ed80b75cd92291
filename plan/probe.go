package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// CodecRun is the same with one codec, so that codecs can be compared.
type CodecRun struct {
	Codec string `json:"codec"`
	ProbeRun
}

// prober measures with the codec that days would get, and then with others that
// they could get.
type prober struct {
	*run
	to *targetSide
}

// check changes the target for its duration: it is the one step that does.
func (p *prober) check(ctx context.Context) {
	if !p.config.Probe {
		return
	}
	if p.source == nil || p.target == nil || p.to.preview == nil || len(p.plan.Days) == 0 {
		p.unknown(Forecast, "probe", "not measured: the checks before say why", "")
		return
	}
	run, err := p.measure(ctx, "", probeBytes)
	if err != nil {
		if ctx.Err() == nil {
			p.refuseUnlessHidden(Forecast, "probe", hint.Add(fmt.Errorf("measure: %w", err), hint.Of(err)), "not measured; a scratch index has a name of its own, so this says little about the daily indices")
		}
		return
	}
	p.plan.Probe = &run
	p.ok(Forecast, "probe", fmt.Sprintf("%d nodes, %s in %.1f s; the scratch index is removed", run.Nodes, amount.Size(run.Bytes), run.Seconds))
	p.compare(ctx, CodecRun{p.to.preview.Codec, run})
}

// compare measures the nodes of a first run again, with the other codecs.
func (p *prober) compare(ctx context.Context, first CodecRun) {
	runs := []CodecRun{first}
	for _, codec := range []string{"default", "best_compression", "zstd"} {
		if codec == first.Codec || p.target.CheckCodec(ctx, codec) != nil {
			continue
		}
		run, err := p.measure(ctx, codec, first.Bytes)
		if err != nil {
			if ctx.Err() == nil {
				p.unknown(Forecast, "probe_codecs", fmt.Sprintf("%s: %s", codec, err), hint.Of(err))
			}
			return
		}
		runs = append(runs, CodecRun{codec, run})
	}
	p.plan.Codecs = runs
	var text []string
	for _, r := range runs {
		text = append(text, fmt.Sprintf("%s %s/s, %.2f bytes on disk for each of %s", r.Codec, amount.Size(int64(float64(r.Bytes)/r.Seconds)), float64(r.StoreBytes)/float64(max(r.Bytes, 1)), amount.Size(r.Bytes)))
	}
	p.ok(Forecast, "probe_codecs", strings.Join(text, "; ")+", before days are compact")
}

// measure writes about so many bytes to a scratch index with a codec, "" for that
// of the days.
func (p *prober) measure(ctx context.Context, codec string, most int64) (run ProbeRun, err error) {
	scratch, err := inspect.CreateScratch(ctx, p.target, p.plan.Days[len(p.plan.Days)-1].planned, codec)
	if err != nil {
		return ProbeRun{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
		defer cancel()
		err = errors.Join(err, inspect.RemoveScratch(ctx, p.target, scratch))
	}()
	m := &measurement{prober: p, most: most, scratch: scratch, loads: make(chan *target.Batch), empty: make(chan *target.Batch, p.config.Senders+1)}
	if err := m.pump(ctx); err != nil {
		return ProbeRun{}, err
	}
	if err := p.target.Refresh(ctx, scratch.Name); err != nil {
		return ProbeRun{}, err
	}
	if err := p.target.Flush(ctx, scratch.Name); err != nil {
		return ProbeRun{}, err
	}
	m.result.StoreBytes, err = inspect.StoreBytes(ctx, p.target, scratch.Name)
	return m.result, err
}

// measurement is a small pipeline: one reader, several senders, batches in between.
type measurement struct {
	*prober
	most    int64 // bytes
	scratch target.Index
	loads   chan *target.Batch
	empty   chan *target.Batch
	batch   *target.Batch // being filled
	checker *node.Checker
	begun   time.Time
	result  ProbeRun
}

func (m *measurement) pump(ctx context.Context) error {
	for range cap(m.empty) {
		m.empty <- target.NewBatch(probeBatch)
	}
	m.checker, m.begun = node.NewChecker(node.Quick), time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range cap(m.empty) - 1 {
		group.Go(func() error { return m.send(ctx) })
	}
	group.Go(func() error {
		defer close(m.loads)
		err := m.read(ctx)
		if err == nil || errors.Is(err, errEnough) {
			return m.push(ctx)
		}
		return err
	})
	err := group.Wait()
	m.result.Seconds = time.Since(m.begun).Seconds()
	return err
}

func (m *measurement) send(ctx context.Context) error {
	for batch := range m.loads {
		if _, err := m.target.Write(ctx, m.scratch, batch); err != nil {
			return err
		}
		m.empty <- batch
	}
	return ctx.Err()
}

// read streams the newest days until enough was read.
func (m *measurement) read(ctx context.Context) error {
	for i := len(m.plan.Days) - 1; i >= 0; i-- {
		day := m.plan.Days[i].planned
		if err := m.source.Stream(ctx, day.Start(), day.End(), func(n node.Node) error { return m.add(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurement) add(ctx context.Context, n node.Node) error {
	if m.result.Bytes >= m.most || time.Since(m.begun) >= probeTime {
		return errEnough
	}
	if m.batch != nil && m.batch.Len() > 0 && m.batch.Size()+m.batch.Room(n) > probeBatch {
		if err := m.push(ctx); err != nil {
			return err
		}
	}
	if m.batch == nil {
		select {
		case m.batch = <-m.empty:
			m.batch.Reset(target.Versioned)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.batch.Append(n, m.checker)
	m.result.Nodes++
	m.result.Bytes += int64(len(n.Data))
	return nil
}

func (m *measurement) push(ctx context.Context) error {
	if m.batch == nil {
		return nil
	}
	select {
	case m.loads <- m.batch:
		m.batch = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
