package migrate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// pipe is the pipeline of one copy. Its channels bound what is in memory: a
// slow target leaves no empty batch, and the readers wait.
type pipe struct {
	*Migration
	slices  chan *slice
	empty   chan *target.Batch
	loads   chan load
	sealing chan *day
	cut     bool        // the producer ended before it had produced everything
	slow    atomic.Bool // the target held a reader up in the middle of a slice
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
	if len(days) == 0 {
		return nil
	}
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
	// Each channel is closed when all who send on it have ended. Any of them may
	// send a day to be sealed, and after an error they end in any order.
	var all sync.WaitGroup
	all.Add(3)
	workers(group, 1, func() { close(p.slices); all.Done() }, func() error { return p.produce(ctx, days) })
	workers(group, m.options.Readers, func() { close(p.loads); all.Done() }, func() error { return p.readSlices(ctx) })
	workers(group, m.options.Senders, all.Done, func() error { return p.sendLoads(ctx) })
	group.Go(func() error {
		all.Wait()
		close(p.sealing)
		return nil
	})
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
		if goesOn, err := p.hand(ctx, d, found); err != nil || !goesOn {
			return err
		}
	}
	return nil
}

// hand hands a day's slices to the readers. It reports false when the run is
// to stop.
func (p *pipe) hand(ctx context.Context, d *day, found []source.Slice) (bool, error) {
	for _, s := range found {
		select {
		case p.slices <- &slice{day: d, from: s.From, to: s.To, bytes: s.Bytes, cuts: s.Cuts}:
		case <-p.options.Stop:
			p.cut = true
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return true, nil
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
// the query.
//
//  1. What takes too long as a whole, of the server or of a target that is slow,
//     may be short enough in parts: it is read in halves.
//  2. What was sent of a slice that was given up is sent again. So once a target
//     was too slow, slices are cut before to what fits into a batch for certain.
//  3. Rows that the server cannot read are isolated, and rejected.
func (p *pipe) readSlice(ctx context.Context, s *slice, check *node.Checker) error {
	if p.slow.Load() && s.to-s.from > 1 && s.bytes > int64(p.options.Gate.BatchBytes()/2) {
		return p.readHalves(ctx, s, check)
	}
	for try := 1; ; try++ {
		err := p.attempt(ctx, s, check)
		if errors.Is(err, errStalled) {
			p.slow.Store(true)
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, errStalled) && s.to-s.from > 1:
			return p.readHalves(ctx, s, check)
		case errors.Is(err, errStalled):
			continue // it waits for an empty batch before it reads
		case (source.Damaged(err) || source.TooLong(err)) && !s.apart:
			s.apart = true
			p.notify(Event{Kind: Retry, Day: s.day.day.String(), Cause: err.Error()})
			continue
		case !source.Retryable(err) || try == maxAttempts:
			return err
		}
		p.notify(Event{Kind: Retry, Day: s.day.day.String(), Cause: err.Error()})
		if try == 2 && s.to-s.from > 1 {
			return p.readHalves(ctx, s, check)
		}
		if err := orderly.Sleep(ctx, retryPause(try)); err != nil {
			return err
		}
	}
}

func (p *pipe) readHalves(ctx context.Context, s *slice, check *node.Checker) error {
	middle := s.from + (s.to-s.from)/2
	s.day.open.Add(1)
	for _, half := range [][2]int64{{s.from, middle}, {middle, s.to}} {
		if err := p.readSlice(ctx, &slice{day: s.day, from: half[0], to: half[1], bytes: s.bytes / 2, sent: s.sent}, check); err != nil {
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

// attempt streams a slice once. It waits for an empty batch before it begins,
// with no statement open.
func (p *pipe) attempt(ctx context.Context, s *slice, check *node.Checker) error {
	a := &attempt{slice: s}
	a.pending.Store(1)
	f := &filler{attempt: a, check: check, limit: p.options.Gate.BatchBytes, young: p.young, known: p.known}
	f.empty = func() (*target.Batch, error) { return p.take(ctx, f.patience()) }
	f.full = func(l load) error { return p.forward(ctx, l, f.patience()) }
	err := f.begin()
	if err == nil {
		f.reading = true
		err = p.stream(ctx, s, f)
		f.reading = false
	}
	if err == nil && f.read.nodes > 0 {
		err = f.push()
	}
	if f.batch != nil {
		p.empty <- f.batch
	}
	if err != nil {
		a.abandoned.Store(true)
		s.sent = s.sent || a.sent
		return err
	}
	return p.release(ctx, a)
}

func (p *pipe) stream(ctx context.Context, s *slice, f *filler) error {
	span := source.Slice{From: s.from, To: s.to, Cuts: s.cuts}
	if s.apart {
		return p.source.StreamApart(ctx, span, source.Apart{Node: f.add, Bad: f.refuse})
	}
	return p.source.StreamSlice(ctx, span, f.add)
}

// maxStall is how long a reader waits for the senders in the middle of a slice.
// Its query holds a snapshot, which holds back vacuum (promise 6), and on a hot
// standby it would be cancelled after 30 s.
const maxStall = 20 * time.Second

// patience is how long a reader may wait for the target.
func (f *filler) patience() time.Duration {
	if f.reading {
		return maxStall
	}
	return math.MaxInt64
}

// errStalled ends the reading of a slice, which is read in halves: one that fits
// into a batch never waits in its middle.
var errStalled = errors.New("the target takes nothing")

// take waits for an empty batch: this is where a slow target holds the readers.
func (p *pipe) take(ctx context.Context, patience time.Duration) (*target.Batch, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case batch := <-p.empty:
		return batch, nil
	case <-timer.C:
		return nil, errStalled
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forward hands a full batch to the senders.
func (p *pipe) forward(ctx context.Context, l load, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	l.attempt.pending.Add(1)
	select {
	case p.loads <- l:
		l.attempt.sent = true
		return nil
	case <-timer.C:
		p.empty <- l.batch
		return errStalled
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) sendLoads(ctx context.Context) error {
	for l := range p.loads {
		d := l.attempt.slice.day
		outcome, err := p.write(ctx, d, l.batch)
		p.empty <- l.batch
		if err != nil {
			return wrap(d, err)
		}
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

// release says that one party is done with the attempt. The last one commits
// the slice: all its nodes have their fate now, durably.
func (p *pipe) release(ctx context.Context, a *attempt) error {
	if a.pending.Add(-1) > 0 || a.abandoned.Load() {
		return nil
	}
	if err := p.commit(ctx, a); err != nil {
		return err
	}
	if d := a.slice.day; d.open.Add(-1) == 0 {
		p.sealing <- d
	}
	return nil
}

func (p *pipe) sealDays(ctx context.Context) error {
	for d := range p.sealing {
		if err := p.seal(ctx, d); err != nil {
			return wrap(d, err)
		}
	}
	return ctx.Err()
}
