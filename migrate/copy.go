package migrate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// slice is a piece of a day on its way through the pipeline.
type slice struct {
	day      *day
	from, to int64 // half-open, µs
}

// attempt is one reading of a slice. Its nodes are counted apart from those of
// other attempts, so that only the one that went through counts.
type attempt struct {
	slice *slice
	// pending is the number of parties that are not done with it: the reader,
	// and each batch. Who brings it to zero commits the slice.
	pending   atomic.Int64
	abandoned atomic.Bool

	mu    sync.Mutex
	read  tally
	fates node.Fates
}

// load is a full batch that waits for a sender.
type load struct {
	attempt *attempt
	batch   *target.Batch
	read    tally
}

// tally counts what was read into a batch.
type tally struct {
	nodes    int64
	bytes    int64 // of data, as the source stores it
	rejected []Rejected
}

// pipe is the pipeline of one copy. Its channels bound what is in memory: a
// slow target leaves no empty batch, and the readers wait.
type pipe struct {
	*Migration
	slices  chan *slice
	empty   chan *target.Batch
	loads   chan load
	sealing chan *day
	cut     bool // the producer ended before it had produced everything
}

// copy copies what is missing of the days and seals them.
//
//  1. The producer prepares one day after the other and cuts it into slices.
//  2. Readers stream slices into batches.
//  3. Senders write batches; the last batch of a slice commits it.
//  4. The last slice of a day has the day sealed.
//
// The first error stops all of them. A request to stop ends the producer, and
// what is open goes through to its end.
func (m *Migration) copy(ctx context.Context, days []*day) error {
	batches := m.options.Readers + m.options.Senders + 1
	p := &pipe{
		Migration: m,
		slices:    make(chan *slice),
		empty:     make(chan *target.Batch, batches),
		loads:     make(chan load),
		sealing:   make(chan *day, len(days)),
	}
	for range batches {
		p.empty <- target.NewBatch(m.options.BatchBytes)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(p.slices)
		return p.produce(ctx, days)
	})
	workers(group, m.options.Readers, func() { close(p.loads) }, func() error { return p.readSlices(ctx) })
	workers(group, m.options.Senders, func() { close(p.sealing) }, func() error { return p.sendLoads(ctx) })
	group.Go(func() error { return p.sealDays(ctx) })
	if err := group.Wait(); err != nil {
		return err
	}
	if p.cut {
		return ErrInterrupted
	}
	return nil
}

// workers runs n workers in the group, and after when all of them have ended.
func workers(group *errgroup.Group, n int, after func(), work func() error) {
	var running sync.WaitGroup
	running.Add(n)
	for range n {
		group.Go(func() error {
			defer running.Done()
			return work()
		})
	}
	group.Go(func() error {
		running.Wait()
		after()
		return nil
	})
}

func (p *pipe) produce(ctx context.Context, days []*day) error {
	for _, d := range days {
		if p.stopped() {
			p.cut = true
			return nil
		}
		if err := p.prepare(ctx, d); err != nil {
			return wrap(d, err)
		}
		found, err := p.measure(ctx, d)
		if err != nil {
			return wrap(d, err)
		}
		d.open.Store(int64(len(found)))
		if len(found) == 0 {
			p.sealing <- d
			continue
		}
		for _, s := range found {
			select {
			case p.slices <- &slice{day: d, from: s.From, to: s.To}:
			case <-p.options.Stop:
				p.cut = true
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (p *pipe) readSlices(ctx context.Context) error {
	check := node.NewChecker(p.options.Depth)
	for s := range p.slices {
		if err := p.readSlice(ctx, s, check); err != nil {
			return wrap(s.day, err)
		}
	}
	return ctx.Err()
}

// maxAttempts is how often a slice is read before the run gives up. With the
// pauses between them that is about ten minutes.
const maxAttempts = 30

// readSlice reads a slice, again if the connection breaks or a standby cancels
// the query. From the third attempt on it is read in halves: what takes too
// long as a whole may be short enough in parts.
func (p *pipe) readSlice(ctx context.Context, s *slice, check *node.Checker) error {
	for try := 1; ; try++ {
		err := p.attempt(ctx, s, check)
		if err == nil || ctx.Err() != nil || !source.Retryable(err) || try == maxAttempts {
			return err
		}
		p.notify(Event{Kind: Retry, Day: s.day.day.String(), Cause: err.Error()})
		if try >= 2 && s.to-s.from > 1 {
			return p.readHalves(ctx, s, check)
		}
		if err := sleep(ctx, retryPause(try)); err != nil {
			return err
		}
	}
}

func (p *pipe) readHalves(ctx context.Context, s *slice, check *node.Checker) error {
	middle := s.from + (s.to-s.from)/2
	s.day.open.Add(1)
	for _, half := range []*slice{{s.day, s.from, middle}, {s.day, middle, s.to}} {
		if err := p.readSlice(ctx, half, check); err != nil {
			return err
		}
	}
	return nil
}

// retryPause doubles from 250 ms to 30 s, with jitter.
func retryPause(try int) time.Duration {
	ceiling := min(250*time.Millisecond<<min(try, 10), 30*time.Second)
	return ceiling/2 + rand.N(ceiling/2)
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// attempt streams a slice once.
func (p *pipe) attempt(ctx context.Context, s *slice, check *node.Checker) error {
	a := &attempt{slice: s}
	a.pending.Store(1)
	f := filler{pipe: p, attempt: a, check: check}
	err := p.source.Stream(ctx, s.from, s.to, func(n node.Node) error { return f.add(ctx, n) })
	if err == nil {
		err = f.push(ctx)
	}
	if err != nil {
		a.abandoned.Store(true)
		f.drop()
		return err
	}
	return p.release(ctx, a)
}

// filler puts the nodes of an attempt into batches.
type filler struct {
	*pipe
	attempt *attempt
	check   *node.Checker
	batch   *target.Batch // being filled; nil between two batches
	read    tally         // what went into it
}

// add puts a node into the batch that is being filled. A batch that the node
// does not fit into goes to the senders before.
func (f *filler) add(ctx context.Context, n node.Node) error {
	if f.batch != nil && f.batch.Len() > 0 && f.batch.Size()+f.batch.Room(n) > f.options.BatchBytes {
		if err := f.push(ctx); err != nil {
			return err
		}
	}
	if f.batch == nil {
		select {
		case f.batch = <-f.empty:
			f.batch.Reset(f.attempt.slice.day.mode())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	verdict := f.batch.Append(n, f.check)
	f.read.nodes++
	f.read.bytes += int64(len(n.Data))
	if verdict.Reason != node.Accepted {
		f.read.rejected = append(f.read.rejected, Rejected{ID: string(n.ID), Timestamp: isoTime(n.Micros), Reason: verdict.Reason})
	}
	return nil
}

// push hands the batch to the senders.
func (f *filler) push(ctx context.Context) error {
	if f.batch == nil {
		return nil
	}
	f.attempt.pending.Add(1)
	select {
	case f.loads <- load{f.attempt, f.batch, f.read}:
		f.batch, f.read = nil, tally{}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drop gives back a batch that will not be sent.
func (f *filler) drop() {
	if f.batch != nil {
		f.empty <- f.batch
		f.batch = nil
	}
}

func (p *pipe) sendLoads(ctx context.Context) error {
	for l := range p.loads {
		d := l.attempt.slice.day
		outcome, err := p.target.Write(ctx, d.index, l.batch)
		nodes := int64(l.batch.Len())
		p.empty <- l.batch
		if err != nil {
			return wrap(d, err)
		}
		p.progress.sentNodes.Add(nodes)
		p.progress.sentBytes.Add(l.read.bytes)
		p.progress.doneNodes.Add(l.read.nodes)
		p.progress.doneBytes.Add(l.read.bytes)
		l.attempt.add(l.read, outcome)
		if err := p.release(ctx, l.attempt); err != nil {
			return wrap(d, err)
		}
	}
	return ctx.Err()
}

// add counts what was read into a batch, and what became of it.
func (a *attempt) add(read tally, outcome target.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read.nodes += read.nodes
	a.read.bytes += read.bytes
	a.read.rejected = append(a.read.rejected, read.rejected...)
	a.fates[node.Rejected] += int64(len(read.rejected))
	a.fates.Add(outcome.Fates)
	for _, r := range outcome.Rejected {
		a.read.rejected = append(a.read.rejected, Rejected{ID: r.ID, Timestamp: isoTime(r.Micros), Reason: r.Reason, Detail: r.Detail})
	}
}

// release says that one party is done with the attempt. The last one commits
// the slice: all its nodes have their fate now, durably.
func (p *pipe) release(ctx context.Context, a *attempt) error {
	if a.pending.Add(-1) > 0 || a.abandoned.Load() {
		return nil
	}
	if a.fates.Sum() != a.read.nodes {
		return fmt.Errorf("slice %s to %s: %d nodes were read and %d have a fate", isoTime(a.slice.from), isoTime(a.slice.to), a.read.nodes, a.fates.Sum())
	}
	if err := p.commit(ctx, a); err != nil {
		return err
	}
	if d := a.slice.day; d.open.Add(-1) == 0 {
		p.sealing <- d
	}
	return nil
}

// commit puts a slice into the checkpoint, after the list of its rejected nodes.
func (p *pipe) commit(ctx context.Context, a *attempt) error {
	save := func(change func(*checkpoint.State)) error {
		return p.checkpoint.Update(ctx, func(state *checkpoint.State) {
			record := state.Day(a.slice.day.day)
			record.Index = a.slice.day.name()
			record.Done = record.Done.Add(checkpoint.Range{From: a.slice.from, To: a.slice.to})
			record.Fates.Add(a.fates)
			record.Bytes += a.read.bytes
			change(state)
		})
	}
	if len(a.read.rejected) == 0 {
		return save(func(*checkpoint.State) {})
	}
	payloads, err := p.payloads(ctx, a.read.rejected)
	if err != nil {
		return err
	}
	return p.rejects.commit(a.read.rejected, payloads, func(size RejectsSize) error {
		return save(func(state *checkpoint.State) { state.Rejected = checkpoint.Rejected(size) })
	})
}

// payloads reads what rejected nodes hold, if that was asked for.
func (m *Migration) payloads(ctx context.Context, rejected []Rejected) ([]rejectedPayload, error) {
	if m.rejects.payloads == nil {
		return nil, nil
	}
	ids := make([]string, len(rejected))
	for i, r := range rejected {
		ids[i] = r.ID
	}
	var found []rejectedPayload
	err := m.source.Fetch(ctx, ids, func(n node.Node) error {
		found = append(found, rejectedPayload{ID: string(n.ID), Data: append([]byte(nil), n.Data...)})
		return nil
	})
	return found, err
}

func (p *pipe) sealDays(ctx context.Context) error {
	for d := range p.sealing {
		if err := p.seal(ctx, d); err != nil {
			return wrap(d, err)
		}
	}
	return ctx.Err()
}

func isoTime(micros int64) string { return string(node.AppendTimestamp(nil, micros)) }
