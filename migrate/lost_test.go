package migrate_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// clean describes readable rows over some days of the past.
func clean(seed uint64, rows, days int) synth.Options {
	o := events(seed, rows, days)
	o.Mix = synth.Clean()
	return o
}

func (w *world) drop(day node.Day) {
	w.t.Helper()
	w.must(http.MethodDelete, "/"+w.prefix+"-"+day.String(), "", nil)
}

func TestDayWhoseIndexIsGone(t *testing.T) {
	t.Parallel()
	t.Run("is lost without a retention, until it is copied again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, newestPair()).fill(events(60, 300, 3))
		w.migrate(exitRejected)
		day := node.DayOf(past().UnixMicro()) + 1
		w.drop(day)
		for range 2 { // it stays lost
			c := w.migrate(exitRejected)
			s := c.summary()
			if len(s.Lost) != 1 || s.Lost[0].Day != day.String() || s.Fates[node.Lost] != s.Lost[0].Nodes || s.Lost[0].Nodes == 0 {
				t.Fatalf("lost %v, fates %v", s.Lost, s.Fates)
			}
			if s.Fates[node.OutOfRetention] != 0 || s.Fates.Sum() != int64(len(w.rows)) {
				t.Errorf("fates %v", s.Fates)
			}
		}
		w.wantComplete(w.migrate(exitRejected, "--copy-again", day.String()).summary())
		w.wantComplete(w.migrate(exitRejected, "--copy-again", day.String()).summary()) // the same command resumes
	})
	t.Run("is settled with one, also with rejected nodes", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, newestPair()).fill(events(61, 300, 2))
		w.migrate(exitRejected)
		day := node.DayOf(past().UnixMicro())
		w.drop(day)
		s := w.migrate(exitRejected, "--retention", "90").summary()
		if len(s.Lost) != 0 || s.Fates[node.OutOfRetention] == 0 || s.Fates[node.Lost] != 0 || s.Fates.Sum() != int64(len(w.rows)) {
			t.Errorf("lost %v, fates %v", s.Lost, s.Fates)
		}
		// With the retention lifted, it is not settled any more.
		if s := w.migrate(exitRejected, "--retention", "0").summary(); len(s.Lost) != 1 {
			t.Errorf("lost %v, fates %v", s.Lost, s.Fates)
		}
	})
	t.Run("while it is copied", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, newestPair()).fill(clean(62, 400, 1))
		day := node.DayOf(past().UnixMicro())
		var bulks atomic.Int32
		gate := newGate(t, w.target, func(r request) passage {
			if r.bulk() && bulks.Add(1) == 3 {
				w.request(http.MethodDelete, "/"+w.prefix+"-"+day.String(), "", nil)
			}
			return passage{}
		})
		s := w.migrate(exitRejected, "--target", gate.server.URL).summary()
		if len(s.Lost) != 1 || s.Fates[node.Lost] != int64(len(w.rows)) {
			t.Errorf("lost %v, fates %v", s.Lost, s.Fates)
		}
		if status := w.request(http.MethodGet, "/"+w.prefix+"-"+day.String(), "", nil); status != http.StatusNotFound {
			t.Errorf("the index is there again: %d", status)
		}
		w.wantComplete(w.migrate(exitDone, "--copy-again", day.String()).summary())
	})
}

// TestProxysOwn404 has a reverse proxy answer with a page of its own while the
// cluster behind it is away.
func TestProxysOwn404(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(63, 300, 2))
	var pages atomic.Int32
	gate := newGate(t, w.target, func(r request) passage {
		if n := r.n % 7; n != 5 && n != 6 {
			return passage{}
		}
		return passage{answer: func(answer http.ResponseWriter) {
			pages.Add(1)
			answer.Header().Set("Content-Type", "text/html")
			answer.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(answer, "<html><h1>404 page not found</h1></html>")
		}}
	})
	w.wantComplete(w.migrate(exitDone, "--target", gate.server.URL).summary())
	if pages.Load() == 0 {
		t.Error("no page was served")
	}
}

// TestTwoOperators has a second run with another checkpoint seal a day that the
// first one is loading.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(64, 400, 1))
	reached, goOn := make(chan struct{}), make(chan struct{})
	var bulks atomic.Int32
	gate := newGate(t, w.target, func(r request) passage {
		if r.bulk() && bulks.Add(1) == 2 {
			close(reached)
			<-goOn
		}
		return passage{}
	})
	first := w.start("--target", gate.server.URL)
	<-reached
	w.migrate(exitDone, "--checkpoint", w.checkpoint()+"-other")
	close(goOn)
	first.wants(exitDone)
	w.wantComplete(first.summary())
}

// TestAutoCreationOff has a cluster that creates no index when it is written to.
func TestAutoCreationOff(t *testing.T) {
	t.Parallel()
	server, err := testbed.StartOpenSearch(t.Context(), testbed.OpenSearchOptions{Quick: true, Settings: map[string]string{"action.auto_create_index": `"false"`}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, newestPair())
	w.target = server.URL()
	now := time.Now().UTC()
	w.fill(synth.Options{Seed: 65, Rows: 60, From: now.Add(-40 * time.Hour), Until: now.Add(-time.Second), Mix: synth.Clean(), Distinct: 10})
	s := w.migrate(exitDone).summary()
	if s.Fates[node.Stored] != int64(len(w.rows)) {
		t.Errorf("fates %v", s.Fates)
	}
	w.wantReadable()
}

// TestLoanOfAnIndexMadeAgain has Sentry make the index again that an
// interrupted run was loading: it is given nothing back.
func TestLoanOfAnIndexMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(66, 200, 1))
	var c *child
	started := make(chan struct{})
	gate := newGate(t, w.target, func(r request) passage {
		if r.bulk() {
			<-started
			c.kill()
			return passage{refuse: true}
		}
		return passage{}
	})
	c = w.start("--target", gate.server.URL)
	close(started)
	c.killed()
	index := w.prefix + "-" + node.DayOf(past().UnixMicro()).String()
	w.must(http.MethodDelete, "/"+index, "", nil)
	w.must(http.MethodPut, "/"+index, `{"settings":{"index.refresh_interval":"17s"}}`, nil)
	w.migrate(exitDone, "--restore-settings")
	var found map[string]struct {
		Settings struct {
			Index struct {
				RefreshInterval string `json:"refresh_interval"`
			}
		}
	}
	w.must(http.MethodGet, "/"+index+"/_settings", "", &found)
	if got := found[index].Settings.Index.RefreshInterval; got != "17s" {
		t.Errorf("refresh_interval is %q", got)
	}
}

// TestTemplateThatMatchesSomeDays is refused before anything is written.
func TestTemplateThatMatchesSomeDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(67, 60, 3))
	old := strings.Replace(w.template(), w.prefix+"-*", w.prefix+"-2025-03-01", 1)
	old = strings.Replace(old, `"doc_values":false`, `"doc_values":true`, 1)
	old = strings.Replace(old, `{"index_patterns"`, `{"priority":7,"index_patterns"`, 1)
	w.must(http.MethodPut, "/_index_template/"+w.prefix+"-old", old, nil)
	t.Cleanup(func() { w.request(http.MethodDelete, "/_index_template/"+w.prefix+"-old", "", nil) })
	gate := newGate(t, w.target, func(r request) passage {
		if r.bulk() || r.creates() != "" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		return passage{}
	})
	c := w.migrate(exitFailed, "--target", gate.server.URL)
	if text := c.stderr.String(); !strings.Contains(text, "doc_values=true") || !strings.Contains(text, "2025-03-01") {
		t.Errorf("standard error:\n%s", text)
	}
}

// TestTemplateThatChangesInMidRun: the index that was made by it is useless, and
// must not stay in the way of the next run.
func TestTemplateThatChangesInMidRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(68, 60, 3))
	right := w.template()
	w.must(http.MethodPut, "/_index_template/"+w.prefix, right, nil)
	other := strings.Replace(right, `"aliases":{"`, `"aliases":{"other-`, 1)
	t.Cleanup(func() { w.request(http.MethodDelete, "/"+w.prefix+"-*", "", nil) })
	gate := newGate(t, w.target, func(r request) passage {
		if r.creates() != "" {
			w.must(http.MethodPut, "/_index_template/"+w.prefix, other, nil)
		}
		return passage{}
	})
	c := w.migrate(exitFailed, "--target", gate.server.URL)
	if text := c.stderr.String(); !strings.Contains(text, "is not behind alias") || !strings.Contains(text, "removed again") {
		t.Errorf("standard error:\n%s", text)
	}
	w.must(http.MethodPut, "/_index_template/"+w.prefix, right, nil)
	w.wantAllStored(w.migrate(exitDone))
}
