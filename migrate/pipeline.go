package migrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// pipeline takes slices from the source to where they go. It knows nothing of
// what they are for. Its channels bound what is in memory: a slow target leaves
// no empty batch, and the readers wait.
type pipeline struct {
	*run
	young func(micros int64) bool // as in filler
	known checkpoint.Marks
	// done is told of the last of some slices that share a counter.
	done func(*slice)
	slow atomic.Int64 // until then slices are small, µs: the target held a reader up in the middle of one

	slices chan *slice
	empty  chan *target.Batch
	loads  chan load
}

// flow takes what produce hands over through the pipeline.
//
//  1. Readers stream slices into batches.
//  2. Senders write batches; the last batch of a slice commits it.
//
// The first error stops all of them. When produce returns, what is open goes
// through to its end.
func (p *pipeline) flow(ctx context.Context, produce func(ctx context.Context, hand func(*slice) error) error) error {
	batches := p.Readers + p.Senders + 1
	p.slices, p.loads, p.empty = make(chan *slice), make(chan load), make(chan *target.Batch, batches)
	for range batches {
		p.empty <- target.NewBatch(p.BatchBytes)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(p.slices)
		return produce(ctx, func(s *slice) error { return p.hand(ctx, s) })
	})
	var readers sync.WaitGroup
	readers.Add(p.Readers)
	for range p.Readers {
		group.Go(func() error {
			defer readers.Done()
			return p.readSlices(ctx)
		})
	}
	group.Go(func() error {
		readers.Wait()
		close(p.loads)
		return nil
	})
	for range p.Senders {
		group.Go(func() error { return p.sendLoads(ctx) })
	}
	return group.Wait()
}

// hand hands a slice to a reader. It is ErrInterrupted when the run is to stop.
func (p *pipeline) hand(ctx context.Context, s *slice) error {
	select {
	case p.slices <- s:
		return nil
	case <-p.Stop:
		return ErrInterrupted
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipeline) readSlices(ctx context.Context) error {
	check := node.NewChecker(p.Depth)
	for s := range p.slices {
		if err := p.readSlice(ctx, s, check); err != nil {
			return wrap(s.into, err)
		}
	}
	return ctx.Err()
}

// slowFor is how long a target counts as slow: the operator may have paused.
const slowFor = 10 * time.Minute

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
func (p *pipeline) readSlice(ctx context.Context, s *slice, check *node.Checker) error {
	if p.slow.Load() > time.Now().UnixMicro() && s.to-s.from > 1 && s.bytes > int64(p.Gate.BatchBytes()/2) {
		return p.readHalves(ctx, s, check)
	}
	for try := 1; ; try++ {
		err := p.read(ctx, s, check)
		if errors.Is(err, errStalled) {
			p.slow.Store(time.Now().Add(slowFor).UnixMicro())
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, errStalled) && s.to-s.from > 1:
			return p.readHalves(ctx, s, check)
		case errors.Is(err, errStalled):
			s.patient = true // one moment cannot be read in parts: it is sent once, however long that takes
			continue
		case (source.Damaged(err) || source.TooLong(err)) && !s.apart:
			s.apart = true
			p.Notify(Event{Kind: Retry, Day: s.into.String(), Cause: err.Error()})
			continue
		case !source.Retryable(err) || try == maxAttempts:
			return err
		}
		p.Notify(Event{Kind: Retry, Day: s.into.String(), Cause: err.Error()})
		if try == 2 && s.to-s.from > 1 {
			return p.readHalves(ctx, s, check)
		}
		if err := orderly.Sleep(ctx, orderly.Backoff(try)); err != nil {
			return err
		}
	}
}

func (p *pipeline) readHalves(ctx context.Context, s *slice, check *node.Checker) error {
	middle := s.from + (s.to-s.from)/2
	s.open.Add(1)
	for _, half := range []checkpoint.Range{{From: s.from, To: middle}, {From: middle, To: s.to}} {
		if err := p.readSlice(ctx, &slice{into: s.into, open: s.open, from: half.From, to: half.To, bytes: s.bytes / 2, cuts: s.cuts, apart: s.apart, sent: s.sent}, check); err != nil {
			return err
		}
	}
	return nil
}

// read streams a slice once. It waits for an empty batch before it begins, with
// no statement open.
func (p *pipeline) read(ctx context.Context, s *slice, check *node.Checker) error {
	r := &reading{slice: s}
	r.pending.Store(1)
	f := &filler{reading: r, check: check, limit: p.Gate.BatchBytes, young: p.young, known: p.known}
	f.empty = func() (*target.Batch, error) { return p.take(ctx, f.patience()) }
	f.full = func(l load) error { return p.forward(ctx, l, f.patience()) }
	err := f.begin()
	if err == nil {
		f.streaming = true
		err = p.stream(ctx, s, f)
		f.streaming = false
	}
	if err == nil && f.read.nodes > 0 {
		err = f.push()
	}
	if f.batch != nil {
		p.empty <- f.batch
	}
	if err != nil {
		r.abandoned.Store(true)
		s.sent = s.sent || r.sent
		return err
	}
	return p.release(ctx, r)
}

func (p *pipeline) stream(ctx context.Context, s *slice, f *filler) error {
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
	if f.streaming && !f.reading.slice.patient {
		return maxStall
	}
	return math.MaxInt64
}

// errStalled ends the reading of a slice, which is read in halves: one that fits
// into a batch never waits in its middle.
var errStalled = errors.New("the target takes nothing")

// take waits for an empty batch: this is where a slow target holds the readers.
func (p *pipeline) take(ctx context.Context, patience time.Duration) (*target.Batch, error) {
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
func (p *pipeline) forward(ctx context.Context, l load, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	l.reading.pending.Add(1)
	select {
	case p.loads <- l:
		l.reading.sent = true
		return nil
	case <-timer.C:
		p.empty <- l.batch
		return errStalled
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipeline) sendLoads(ctx context.Context) error {
	for l := range p.loads {
		s := l.reading.slice
		outcome, err := s.into.write(ctx, l.batch)
		p.empty <- l.batch
		if err != nil {
			return wrap(s.into, err)
		}
		p.progress.sentBytes.Add(l.read.bytes)
		p.progress.doneNodes.Add(l.read.nodes)
		p.progress.doneBytes.Add(l.read.bytes)
		l.reading.add(l.read, outcome)
		if err := p.release(ctx, l.reading); err != nil {
			return wrap(s.into, err)
		}
	}
	return ctx.Err()
}

// release says that one party is done with a reading. The last one commits the
// slice: all its nodes have their fate now, durably.
func (p *pipeline) release(ctx context.Context, r *reading) error {
	if r.pending.Add(-1) > 0 || r.abandoned.Load() {
		return nil
	}
	if err := r.slice.into.commit(ctx, r); err != nil {
		return err
	}
	if r.slice.open.Add(-1) == 0 {
		p.done(r.slice)
	}
	return nil
}

// wrap names what an error is about.
func wrap(into destination, err error) error { return fmt.Errorf("copy day %s: %w", into, err) }
