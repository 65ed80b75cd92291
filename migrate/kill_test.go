package migrate_test

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
)

// kills is how often a migration is killed in one test.
const kills = 15

// executioner kills the tool at its request number at, before or after the
// server has acted, and meanwhile looks for broken promises.
type executioner struct {
	*world
	gate *gate

	mu     sync.Mutex
	victim *child
	begin  int // requests that earlier runs made
	at     int // 0: never
	after  bool
	done   map[string]bool // nodes that the checkpoint called done at the last kill
}

func newExecutioner(w *world) *executioner {
	e := &executioner{world: w}
	e.gate = newGate(w.t, w.target, e.watch)
	return e
}

func (e *executioner) watch(r request) passage {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wantPromises(r)
	switch n := r.n - e.begin; {
	case e.at == 0 || n < e.at:
		return passage{}
	case n == e.at && e.after:
		return passage{acted: e.victim.kill}
	}
	e.victim.kill()
	return passage{refuse: true}
}

// wantPromises: a slice that is done is not sent again (promise 4), and what is
// borrowed is in the checkpoint before it is changed (promise 7).
func (e *executioner) wantPromises(r request) {
	for _, id := range r.ids(e.t) {
		if e.done[id] {
			e.t.Errorf("node %q was done and is sent again", id)
		}
	}
	name := r.creates()
	if name == "" {
		name, _ = strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/_settings")
	}
	if !strings.Contains(string(r.body), "number_of_replicas") || strings.Contains(name, "/") {
		return
	}
	if state, _ := e.state(); state.Borrowed[name].Settings["index.number_of_replicas"] == nil {
		e.t.Errorf("%s %s: the checkpoint lists as borrowed only %v", r.Method, r.URL.Path, state.Borrowed)
	}
}

// run starts the tool and has it killed at a request; 0 lets it live.
func (e *executioner) run(at int, after bool, flags ...string) *child {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.mu.Lock()
	e.begin = e.gate.seen
	e.gate.mu.Unlock()
	e.at, e.after = at, after
	e.victim = e.start(append(flags, "--target", e.gate.server.URL)...)
	return e.victim
}

// inspect compares checkpoint and target after a kill.
func (e *executioner) inspect() {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.done
	e.done = e.wantNotAhead()
	for id := range before {
		if !e.done[id] {
			e.t.Errorf("node %q was done and is not any more", id)
		}
	}
}

func TestKilledAtAnyRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(6, 900, 4))
	e := newExecutioner(w)
	rng := rand.New(rand.NewPCG(6, 0))
	for i := range kills {
		at, after := 1+rng.IntN(40), rng.IntN(2) == 0
		if !e.run(at, after).killed() {
			t.Fatalf("kill %d of %d: the run ended before its request %d", i+1, kills, at)
		}
		e.inspect()
	}
	last := e.run(0, false)
	last.wants(exitRejected)
	w.wantComplete(last.summary())
}

// TestKilledAtEachStepOfADay continues through a single small day, one request
// further with each run: creation, alias, each bulk, and each step of sealing.
func TestKilledAtEachStepOfADay(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(map[bool]string{false: "before", true: "after"}[after], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newestPair()).fill(events(7, 60, 1))
			e := newExecutioner(w)
			var last *child
			for at := 1; ; at++ {
				if last = e.run(at, after); !last.killed() {
					break
				}
				e.inspect()
			}
			last.wants(exitRejected)
			w.wantComplete(last.summary())
		})
	}
}

func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(8, 900, 4))
	slow := faulty.NewHTTPProxy(t, hostOf(t, w.target), func(*http.Request, int) faulty.Fault {
		return faulty.Fault{Delay: 20 * time.Millisecond}
	})
	rng := rand.New(rand.NewPCG(8, 0))
	var done []string
	for range kills {
		c := w.start("--target", slow.URL())
		timer := time.AfterFunc(50*time.Millisecond+time.Duration(rng.Int64N(int64(900*time.Millisecond))), c.kill)
		killed := c.killed()
		timer.Stop()
		now := w.wantNotAhead()
		for _, id := range done {
			if !now[id] {
				t.Errorf("node %q was done and is not any more", id)
			}
		}
		done = slices.Collect(maps.Keys(now))
		if !killed {
			break // faster than its killer
		}
	}
	w.wantComplete(w.migrate(exitRejected).summary())
}
