package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// deed is what a step does.
type deed uint8

const (
	write    deed = iota // Sentry writes or rewrites an id
	remove               // Sentry deletes an id
	wait                 // time passes
	cleanup              // Sentry's nightly cleanup, of whichever side it reads
	drop                 // somebody drops the oldest daily index
	flip                 // the switch: from now on Sentry uses OpenSearch
	straggle             // after the switch, a process or a transaction of before still writes to the source
	leave                // before the first run, another tool leaves an old version in a day
	migrate              // the tool runs
)

// step is one thing that happens. Steps that make no sense where they stand do
// nothing, so that any part of a history is a history.
type step struct {
	do   deed
	id   int
	span time.Duration // wait: how long; write, straggle: from the clock back to the timestamp; leave: from the row's to the document's
	kind kind
	run  run
}

// kind is what a written row holds.
type kind uint8

const (
	readable kind = iota
	pickled       // the tool rejects it
)

// run is how a run of the tool goes.
type run struct {
	during []event
	crash  crash
}

// event is what happens at a request of a run.
type event struct {
	request int
	side    side
	step    step
}

// crash is when the tool is killed, if request is not 0.
type crash struct {
	request int
	side    side
}

// side says whether the server has seen the request.
type side uint8

const (
	before side = iota
	after
	late // it sees the request only during the next run
)

func (s side) String() string { return [...]string{"before", "after", "late at"}[s] }

// history is a world and what happens in it.
type history struct {
	shape shape
	keep  time.Duration // the retention that the tool is told; 0: none
	steps []step
}

// shape is what the relation is.
type shape uint8

const (
	table shape = iota
	view        // over a table in which an id repeats with each rewrite
)

const (
	ids = 10
	day = 24 * time.Hour
	// retention is what the cleanups keep, in days.
	retention = 6
)

// newHistory makes a history from a seed: rows of some days, life with runs of
// the tool, the switch, and life with runs again.
func newHistory(seed uint64) history {
	rng := rand.New(rand.NewPCG(seed, 0))
	g := generator{rng}
	var h history
	if rng.IntN(6) == 0 {
		h.shape = view
	}
	if rng.IntN(3) == 0 {
		h.keep = retention * day
	}
	for id := range 2 + rng.IntN(ids-1) {
		h.steps = append(h.steps, step{do: write, id: id, span: time.Duration(rng.Int64N(int64(4 * day)))})
		if rng.IntN(4) == 0 {
			h.steps = append(h.steps, step{do: leave, id: id, span: time.Duration(rng.Int64N(int64(3 * day)))})
		}
	}
	for range 6 + rng.IntN(12) {
		h.steps = append(h.steps, g.step())
	}
	h.steps = append(h.steps, step{do: migrate}, step{do: flip})
	for range 2 + rng.IntN(8) {
		h.steps = append(h.steps, g.step())
	}
	return h
}

type generator struct{ *rand.Rand }

func (g generator) step() step {
	if g.IntN(4) == 0 {
		return step{do: migrate, run: g.run()}
	}
	return g.act()
}

// act is a step that is no run.
func (g generator) act() step {
	s := step{id: g.IntN(ids)}
	switch n := g.IntN(20); {
	case n < 9:
		s.do, s.span = write, g.lateness()
		if g.IntN(8) == 0 {
			s.kind = pickled
		}
	case n < 12:
		s.do = remove
	case n < 17:
		s.do = wait
		s.span = []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour, 9 * time.Hour, 30 * time.Hour}[g.IntN(6)]
	case n < 18:
		s.do = cleanup
	case n < 19:
		s.do, s.span = straggle, g.lateness()
	default:
		s.do = drop
	}
	return s
}

// lateness is how long before its commit a row got its timestamp; negative for
// a clock that is ahead.
func (g generator) lateness() time.Duration {
	switch g.IntN(4) {
	case 0:
		return time.Duration(g.Int64N(int64(14 * time.Minute)))
	case 1:
		return -time.Duration(g.Int64N(int64(time.Minute)))
	}
	return 0
}

// request is the number of a request: most runs make 10 to 30, the first 60.
func (g generator) request() int { return 1 + g.IntN(1+g.IntN(60)) }

func (g generator) run() (r run) {
	for g.IntN(2) == 0 {
		r.during = append(r.during, event{request: g.request(), side: side(g.IntN(2)), step: g.act()})
	}
	if g.IntN(2) == 0 {
		r.crash = crash{request: g.request(), side: side(g.IntN(3))}
	}
	return r
}

// String lists the steps, one a line.
func (h history) String() string {
	var b strings.Builder
	if h.shape == view {
		fmt.Fprintln(&b, "  the relation is a view")
	}
	if h.keep != 0 {
		fmt.Fprintf(&b, "  the tool runs with a retention of %s\n", h.keep)
	}
	for _, s := range h.steps {
		fmt.Fprintf(&b, "  %s\n", s)
		for _, d := range s.run.during {
			fmt.Fprintf(&b, "      %s request %d: %s\n", d.side, d.request, d.step)
		}
		if c := s.run.crash; c.request != 0 {
			fmt.Fprintf(&b, "      killed %s request %d\n", c.side, c.request)
		}
	}
	return b.String()
}

func (s step) String() string {
	name := [...]string{"write", "remove", "wait", "cleanup", "drop the oldest index", "switch", "straggle", "leave", "migrate"}[s.do]
	switch s.do {
	case write, straggle, leave:
		name = fmt.Sprintf("%s id %d, timestamp %s back", name, s.id, s.span)
	case remove:
		name = fmt.Sprintf("%s id %d", name, s.id)
	case wait:
		name = fmt.Sprintf("%s %s", name, s.span)
	}
	if s.kind == pickled {
		name += ", a pickle"
	}
	return name
}

// shorten looks for the shortest history that still fails, by leaving out ever
// smaller parts of it.
func shorten(h history, fails func(history) bool) history {
	for size := max(len(h.steps)/2, 1); size > 0; size /= 2 {
		for at := 0; at+size <= len(h.steps); {
			shorter := history{h.shape, h.keep, without(h.steps, at, size)}
			if fails(shorter) {
				h = shorter
				continue
			}
			at += size
		}
	}
	for i := range h.steps {
		h = calm(h, i, fails)
	}
	return h
}

// calm leaves out what happens during a run.
func calm(h history, i int, fails func(history) bool) history {
	try := func(r run) {
		calmer := history{h.shape, h.keep, slices.Clone(h.steps)}
		calmer.steps[i].run = r
		if fails(calmer) {
			h = calmer
		}
	}
	if h.steps[i].run.crash.request != 0 {
		try(run{during: h.steps[i].run.during})
	}
	for at := len(h.steps[i].run.during) - 1; at >= 0; at-- {
		try(run{without(h.steps[i].run.during, at, 1), h.steps[i].run.crash})
	}
	return h
}

func without[T any](all []T, at, size int) []T {
	return append(append([]T(nil), all[:at]...), all[at+size:]...)
}
