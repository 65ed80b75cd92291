package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// generator makes histories. Each has a few kinds of trouble, so that most of
// what happens in it can still be told exactly.
type generator struct {
	*rand.Rand
	setting
	troubles []trouble
	switched bool
}

// trouble is a kind of what goes wrong in a history.
type trouble uint8

const (
	mistakes  trouble = iota // indices are dropped by mistake
	answers                  // answers of OpenSearch are lost, cut or replaced
	slow                     // rows are committed hours and days after their timestamp
	ahead                    // clocks are ahead by days and years
	emptied                  // the operator empties the table after the switch
	operators                // there are two, with two checkpoints
	spoiled                  // the template or the alias changes
	earlies                  // Sentry writes to OpenSearch before the switch that is named
	troubles
)

// newHistory makes a history from a seed: rows of some days, life with runs of
// the tool, the switch, and life with runs again.
func newHistory(seed uint64) history {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	g.settle()
	var steps []step
	for id := range 2 + g.IntN(ids-1) {
		steps = append(steps, step{do: write, id: id, span: time.Duration(g.Int64N(int64(4 * day)))})
		if !g.calm && g.IntN(4) == 0 {
			steps = append(steps, step{do: leave, id: id, span: time.Duration(g.Int64N(int64(3 * day)))})
		}
	}
	for range 6 + g.IntN(12) {
		steps = append(steps, g.step())
	}
	if g.calm || g.IntN(2) == 0 {
		steps = append(steps, step{do: migrate})
	}
	steps = append(steps, step{do: flip})
	g.switched = true
	for range 2 + g.IntN(8) {
		steps = append(steps, g.step())
	}
	return history{g.setting, steps}
}

// settle draws the setting and the troubles of a history.
func (g *generator) settle() {
	g.calm = g.IntN(5) == 0
	g.closed = g.IntN(8) == 0
	if g.IntN(6) == 0 {
		g.shape = view
	}
	if g.IntN(3) == 0 {
		g.keep = retention * day
	}
	if g.calm {
		return
	}
	for range g.IntN(4) {
		g.troubles = append(g.troubles, trouble(g.IntN(int(troubles))))
	}
}

func (g *generator) has(t trouble) bool {
	return slices.Contains(g.troubles, t)
}

func (g *generator) step() step {
	switch n := g.IntN(16); {
	case n < 4:
		return step{do: migrate, run: g.run()}
	case n < 5:
		return step{do: check, run: g.verification()}
	}
	return g.act()
}

// act is a step that is not a run.
func (g *generator) act() step {
	if len(g.troubles) > 0 && g.IntN(4) == 0 {
		if s, ok := g.trouble(g.troubles[g.IntN(len(g.troubles))]); ok {
			return s
		}
	}
	s := step{id: g.IntN(ids)}
	switch n := g.IntN(20); {
	case n < 9:
		s.do, s.span = write, g.lateness()
		if !g.calm && g.IntN(8) == 0 {
			s.kind = pickled
		}
	case n < 12 && !g.calm:
		s.do = remove
	case n < 17:
		s.do = wait
		s.span = []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour, 9 * time.Hour, 30 * time.Hour}[g.IntN(6)]
	case g.calm:
		s.do = write
	case n < 18:
		s.do = cleanup
	case n < 19:
		s.do, s.span = straggle, g.lateness()
	default:
		s.do = drop
	}
	return s
}

// trouble is a step of a kind of trouble, if it has any.
func (g *generator) trouble(t trouble) (step, bool) {
	s := step{id: g.IntN(ids)}
	switch t {
	case mistakes:
		s.do = mistake
	case slow:
		s.do, s.span = write, time.Duration(g.Int64N(int64(3*day)))
		if g.switched {
			s.do = straggle
		}
	case ahead:
		s.do, s.span = write, []time.Duration{-2 * day, -30 * time.Hour, -13 * 365 * day}[g.IntN(3)]
	case emptied:
		s.do = []deed{empty, empty, truncate}[g.IntN(3)]
	case spoiled:
		s.do, s.spoil = spoil, spoilage(g.IntN(int(spoilages)))
		return s, g.IntN(4) == 0 // little can be told after it
	case earlies:
		s.do = early
	default:
		return s, false
	}
	return s, true
}

// lateness is how long before its commit a row got its timestamp; negative for
// a clock that is ahead.
func (g *generator) lateness() time.Duration {
	switch g.IntN(4) {
	case 0:
		return time.Duration(g.Int64N(int64(14 * time.Minute)))
	case 1:
		return -time.Duration(g.Int64N(int64(time.Minute)))
	}
	return 0
}

// request is the number of a request: most runs make 10 to 30, the first 60.
func (g *generator) request() int { return 1 + g.IntN(1+g.IntN(60)) }

func (g *generator) run() (r run) {
	r.second = g.has(operators) && g.IntN(3) == 0
	r.again = (g.has(mistakes) || g.has(slow)) && g.IntN(3) == 0
	for g.IntN(2) == 0 {
		r.during = append(r.during, event{request: g.request(), side: side(g.IntN(2)), step: g.meanwhile(r)})
	}
	r.during = append(r.during, g.faulty()...)
	if g.IntN(2) == 0 {
		r.crash = crash{request: g.request(), side: side(g.IntN(3))}
	}
	return r
}

// meanwhile is what happens during a run: it may be one of the other operator.
func (g *generator) meanwhile(r run) step {
	if g.has(operators) && !r.second && g.IntN(3) == 0 {
		return step{do: migrate, run: run{second: true}}
	}
	return g.act()
}

func (g *generator) faulty() (during []event) {
	for g.has(answers) && g.IntN(3) > 0 {
		during = append(during, event{request: g.request(), step: step{do: fault, fault: faulty(g.IntN(int(faults)))}})
	}
	return during
}

// verification is a run of verify. Whatever would make its verdict out of date
// the next moment does not happen meanwhile.
func (g *generator) verification() (r run) {
	r.second = g.has(operators) && g.IntN(3) == 0
	r.full, r.accept = g.IntN(2) == 0, g.IntN(2) == 0
	r.during = g.faulty()
	if g.switched && !g.calm && g.IntN(3) == 0 {
		r.during = append(r.during, event{request: g.request(), side: side(g.IntN(2)), step: step{do: []deed{write, remove}[g.IntN(2)], id: g.IntN(ids)}})
	}
	return r
}
