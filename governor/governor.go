// Package governor decides how many bulk requests are under way, how large they
// are, and whether any may start: more while that makes the cluster take more,
// fewer when it pushes back or slows down, none while a disk is too full or the
// operator has paused. A waiter can be told why.
package governor

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are what the operator allows. They can change at any time.
type Limits struct {
	Senders     int     `json:"senders"`       // bulk requests under way at the same time, at most
	MBPerSecond float64 `json:"mb_per_second"` // of request bodies, in 10^6 bytes; 0: no limit
	Paused      bool    `json:"paused"`
}

// Options configure a Governor.
type Options struct {
	Limits     Limits
	BatchBytes int // of a request's body, at most
	// Told, if set, hears each cause once when requests begin to be held back,
	// and "" when they are not any more. It is called without locks held.
	Told func(cause string)
}

const (
	// firstSenders is where the number begins: from the fourth request under way
	// on, one cluster on the same machine takes hardly more (docs/benchmark.md).
	firstSenders = 4
	// span is how long throughput is measured before the next step.
	span = 2 * time.Second
	// gain is what a step must bring for the next one to be tried.
	gain = 0.05
	// retry is how long after steps brought nothing another one is tried, and
	// how long after a push-back nothing is raised.
	retry = 30 * time.Second
	// slow is how many times the best latency counts as the cluster slowing down.
	slow = 4
	// minBatchBytes is the smallest size that requests shrink to.
	minBatchBytes = 1 << 20
)

// Governor is used by several goroutines.
type Governor struct {
	told    func(string)
	limiter *rate.Limiter

	mu       sync.Mutex
	limits   Limits
	allowed  int // senders allowed at present
	active   int
	batch    int // bytes of a request's body at present
	maxBatch int
	holds    map[string]string // who holds requests back → cause
	cause    string            // what was told last
	wake     chan struct{}     // closed and replaced when waiters must look again

	begun    time.Time // of the present span
	bytes    int64     // that came through in it
	requests int
	took     time.Duration // by all requests of it
	before   float64       // bytes per second of the span before
	best     time.Duration // per request, of the fastest span
	rest     time.Time     // nothing is raised before
	undo     func()        // takes back the last step, until it has proved a gain
}

// New returns a Governor.
func New(o Options) *Governor {
	g := &Governor{
		told: o.Told, limiter: rate.NewLimiter(rate.Inf, 0), allowed: firstSenders,
		batch: o.BatchBytes, maxBatch: o.BatchBytes,
		holds: make(map[string]string), wake: make(chan struct{}),
	}
	if g.told == nil {
		g.told = func(string) {}
	}
	g.setLimits(o.Limits)
	return g
}

// setLimits changes what the operator allows.
func (g *Governor) setLimits(l Limits) {
	g.mu.Lock()
	g.limits = l
	g.allowed = max(min(g.allowed, l.Senders), 1)
	g.limiter.SetLimit(rate.Inf)
	if l.MBPerSecond > 0 {
		// With less burst than its size the largest request could never start.
		g.limiter.SetBurst(max(g.maxBatch, int(l.MBPerSecond*1e6)))
		g.limiter.SetLimit(rate.Limit(l.MBPerSecond * 1e6))
	}
	g.mu.Unlock()
	cause := ""
	if l.Paused {
		cause = "paused by the operator"
	}
	g.hold("operator", cause)
}

// Limits returns what the operator allows.
func (g *Governor) Limits() Limits {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limits
}

// hold keeps new requests back for a cause, until the same holder gives "".
func (g *Governor) hold(holder, cause string) {
	g.mu.Lock()
	if cause == "" {
		delete(g.holds, holder)
	} else {
		g.holds[holder] = cause
	}
	g.stir()
	told, changed := g.present()
	g.mu.Unlock()
	if changed {
		g.told(told)
	}
}

// present is the cause for which requests are held back now, and whether it is
// another than was told last. The caller holds mu.
func (g *Governor) present() (cause string, changed bool) {
	for _, c := range g.holds {
		cause = max(cause, c)
	}
	changed = cause != g.cause
	g.cause = cause
	return cause, changed
}

// stir lets all waiters look again. The caller holds mu.
func (g *Governor) stir() {
	close(g.wake)
	g.wake = make(chan struct{})
}

// Enter waits until a request of so many bytes may start. Leave must follow.
func (g *Governor) Enter(ctx context.Context, bytes int) error {
	for {
		g.mu.Lock()
		if len(g.holds) == 0 && g.active < g.allowed {
			g.active++
			g.mu.Unlock()
			break
		}
		wake := g.wake
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
	err := g.limiter.WaitN(ctx, min(bytes, g.limiter.Burst()))
	if err != nil {
		g.Leave(0, 0)
	}
	return err
}

// Calm waits until nothing holds requests back.
func (g *Governor) Calm(ctx context.Context) error {
	for {
		g.mu.Lock()
		held, wake := len(g.holds) > 0, g.wake
		g.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

// Leave says that a request is over, how many bytes of it were taken, and how
// long it took.
func (g *Governor) Leave(bytes int, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active--
	g.bytes += int64(bytes)
	g.requests++
	g.took += took
	g.adapt()
	g.stir()
}

// adapt ends a span and takes a step: up while each step brings more, one back
// when it did not, down when requests have become slow. The caller holds mu.
func (g *Governor) adapt() {
	now := time.Now()
	if g.begun.IsZero() {
		g.begun = now
	}
	elapsed := now.Sub(g.begun)
	if elapsed < span || g.requests == 0 {
		return
	}
	speed := float64(g.bytes) / elapsed.Seconds()
	latency := g.took / time.Duration(g.requests)
	if g.best == 0 || latency < g.best {
		g.best = latency
	}
	switch {
	case latency > slow*g.best && speed <= g.before && g.allowed > 1:
		g.allowed--
		g.undo, g.rest = nil, now.Add(retry)
	case g.undo != nil && speed <= g.before*(1+gain):
		g.undo()
		g.undo, g.rest = nil, now.Add(retry)
	case !now.Before(g.rest):
		g.undo = g.raise()
	}
	g.before = speed
	g.begun, g.bytes, g.requests, g.took = now, 0, 0, 0
}

// raise allows more: first the size that push-backs took, then another sender.
// It returns how to take that back, or nil if nothing can be raised.
func (g *Governor) raise() (undo func()) {
	senders, batch := g.allowed, g.batch
	g.batch = min(2*batch, g.maxBatch)
	if g.batch == batch {
		g.allowed = min(senders+1, g.limits.Senders)
	}
	if g.batch == batch && g.allowed == senders {
		return nil
	}
	return func() { g.allowed, g.batch = min(senders, g.limits.Senders), batch }
}

// PushedBack says that the cluster refused nodes because it has too much to do.
func (g *Governor) PushedBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.allowed > 1 {
		g.allowed = max(g.allowed*3/4, 1)
	} else {
		g.batch = max(g.batch/2, min(minBatchBytes, g.maxBatch))
	}
	g.undo, g.rest = nil, time.Now().Add(retry)
}

// BatchBytes is how large a request's body should be at present.
func (g *Governor) BatchBytes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.batch
}

// State is what a Governor allows at present.
type State struct {
	Limits     Limits `json:"limits"`
	Senders    int    `json:"senders"` // allowed at present
	Active     int    `json:"active"`  // under way
	BatchBytes int    `json:"batch_bytes"`
	Held       string `json:"held,omitempty"` // why no request may start
}

// State may be asked for at any time.
func (g *Governor) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return State{Limits: g.limits, Senders: g.allowed, Active: g.active, BatchBytes: g.batch, Held: g.cause}
}
