package migrate_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// held is a gate that holds every bulk from the n-th on until open is closed.
func (w *world) held(n int64) (g *gate, reached, open chan struct{}) {
	reached, open = make(chan struct{}), make(chan struct{})
	var bulks atomic.Int64
	g = newGate(w.t, w.target, func(r request) passage {
		if !r.bulk() {
			return passage{}
		}
		number := bulks.Add(1)
		if number == n {
			close(reached)
		}
		if number < n {
			return passage{}
		}
		select {
		case <-open:
			return passage{}
		case <-r.Context().Done():
			return passage{refuse: true}
		}
	})
	return g, reached, open
}

func TestInterruptedOnceItFinishesWhatIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(10, 400, 3))
	gate, reached, open := w.held(8)
	c := w.start("--target", gate.server.URL)
	<-reached
	before := len(w.done())
	c.interrupt()
	c.says("interrupt again")
	close(open)
	c.wants(exitInterrupted)
	s := c.summary()
	done := w.wantNotAhead()
	// Each of the two readers had a slice open.
	if len(done) <= before || len(done) == len(w.rows) || s.Read != int64(len(done)) {
		t.Errorf("%d nodes done when it was interrupted, %d afterwards, %d in the summary", before, len(done), s.Read)
	}
	if state, _ := w.state(); len(state.Borrowed) != s.Borrowed || s.Borrowed == 0 {
		t.Errorf("the summary says that %d indices have loading settings, the checkpoint %v", s.Borrowed, state.Borrowed)
	}
	last := w.migrate(exitRejected).summary()
	if sent := last.Run.Nodes; sent > int64(len(w.rows)-len(done)) {
		t.Errorf("the second run sent %d nodes, and %d were done", sent, len(done))
	}
	w.wantComplete(last)
}

func TestInterruptedTwiceItStopsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(11, 300, 2))
	gate, reached, _ := w.held(6) // and never lets go
	c := w.start("--target", gate.server.URL)
	<-reached
	c.interrupt()
	c.says("interrupt again")
	c.interrupt()
	c.wants(exitInterrupted)
	w.wantNotAhead()
	w.wantComplete(w.migrate(exitRejected).summary())
}

// TestInterruptedWhileItWaits has a target that takes nothing for ever.
func TestInterruptedWhileItWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(37, 60, 1))
	gate := newGate(t, w.target, func(r request) passage {
		if !r.bulk() {
			return passage{}
		}
		return passage{answer: func(answer http.ResponseWriter) { answer.WriteHeader(http.StatusTooManyRequests) }}
	})
	c := w.start("--target", gate.server.URL)
	c.reports(`"event":"waiting"`)
	began := time.Now()
	c.interrupt()
	c.wants(exitInterrupted)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it stopped after %s", took)
	}
	w.wantComplete(w.migrate(exitDone).summary())
}

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(12, 200, 2))
	gate, reached, open := w.held(3)
	first := w.start("--target", gate.server.URL)
	<-reached
	second := w.migrate(exitHeld)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if holder := fmt.Sprintf("process %d on %s", first.cmd.Process.Pid, host); !strings.Contains(second.stderr.String(), holder) {
		t.Errorf("standard error does not name %q: %s", holder, second.stderr.String())
	}
	close(open)
	first.wants(exitRejected)
	w.wantComplete(first.summary())
}

func TestCheckpointOfAnotherSourceOrTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(13, 30, 1))
	w.wantComplete(w.migrate(exitRejected).summary())
	before, _ := w.state()
	w.exec(`create table other (like nodestore_node including all)`)
	elsewhere := newWorld(t, pair{newestPair().postgres, otherOpenSearch()})
	for text, flags := range map[string][]string{
		"another source: changed: table": {"--table", "other"},
		"target cluster":                 {"--target", elsewhere.target},
		"target alias":                   {"--alias", w.prefix + "-other"},
		"target index":                   {"--index", w.prefix + "-other-{date}"},
	} {
		c := w.migrate(exitFailed, flags...)
		if message := c.stderr.String(); !strings.Contains(message, "checkpoint is bound to "+text) || !strings.Contains(message, "->") {
			t.Errorf("%s: standard error: %s", text, message)
		}
	}
	if after, _ := w.state(); !after.Saved.Equal(before.Saved) {
		t.Error("the checkpoint was written")
	}
	if status := elsewhere.request(http.MethodGet, "/_index_template/"+w.prefix, "", nil); status != http.StatusNotFound {
		t.Errorf("the other cluster has the template: status %d", status)
	}
}

// TestDeletedBeforeTheSwitchOfAnInterruptedRun has no run that ended before the
// switch. What Sentry deleted until then still goes, and what somebody deletes
// later stays.
func TestDeletedBeforeTheSwitchOfAnInterruptedRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(225, 400, 3))
	gate, reached, open := w.held(8)
	c := w.start("--target", gate.server.URL)
	<-reached
	c.interrupt()
	c.says("interrupt again")
	close(open)
	c.wants(exitInterrupted)
	w.wantNotAhead()
	for _, row := range w.done()[:5] {
		w.exec("delete from nodestore_node where id = '" + row.ID + "'")
	}
	s := w.migrate(exitDone, "--switched-at", time.Now().UTC().Format(time.RFC3339Nano)).summary()
	if s.Fates[node.Vanished] != 5 {
		t.Errorf("5 nodes vanished: %v", s.Fates)
	}
	w.exec(`delete from nodestore_node where id in (select id from nodestore_node limit 5)`)
	if s = w.migrate(exitDone).summary(); s.Fates[node.Vanished] != 5 {
		t.Errorf("5 nodes vanished before the switch: %v", s.Fates)
	}
}
