package rehearsal_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/rehearsal"
)

// TestUnequalDaysOfABloatedTable has one day with nearly all rows, and more dead rows
// than live ones: what it says is in proportion to the rows that are there.
func TestUnequalDaysOfABloatedTable(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 8000, Mix: synth.Clean()}, 8)
	w.exec(`delete from nodestore_node where "timestamp" < '2025-03-08' and hashtext(id) % 30 <> 0`)
	w.exec(`update nodestore_node set data = '' where "timestamp" < '2025-03-08'`)
	w.exec(`vacuum analyze nodestore_node`)
	w.read()
	rows, bytes := w.count(`true`)
	empty, _ := w.count(`data = ''`)
	r, err := rehearsal.Run(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.wantNothing()
	near := func(what string, got, want, by float64) {
		if got < want*(1-by) || got > want*(1+by) {
			t.Errorf("%s: %.0f, in truth %.0f", what, got, want)
		}
	}
	near("rows", float64(r.Total.Rows), float64(rows), 0.02)
	near("bytes", float64(r.Total.Bytes), float64(bytes), 0.02)
	near("bytes of the sample", float64(r.Sample.Bytes), w.config.Share*float64(bytes), 0.3)
	f := r.Rejected["empty"]
	near("empty", f.Estimate, float64(empty), 0.5)
	if f.Low == nil || *f.Low > float64(empty) || *f.High < float64(empty) {
		t.Errorf("%d rows are empty: %+v", empty, f)
	}
}

// TestDayWithoutData has a day whose rows have no byte, and one that is gone when its
// turn comes.
func TestDayWithoutData(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 400, Mix: synth.Clean()}, 4)
	w.exec(`update nodestore_node set data = '' where "timestamp" < '2025-03-02'`)
	w.exec(`vacuum analyze nodestore_node`)
	w.read()
	w.config.Watch = func(*migrate.Migration) func() {
		w.exec(`delete from nodestore_node where "timestamp" >= '2025-03-03' and "timestamp" < '2025-03-04'`)
		return func() {}
	}
	r, err := rehearsal.Run(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.wantNothing()
	if r.Verified.Findings != 0 || r.Rejected["empty"].Seen == 0 || r.Sample.Days != 4 {
		t.Errorf("%+v", r)
	}
}

// place tells requests apart by what they do, not by the day that they do it to.
func place(r *http.Request) string {
	return r.Method + " " + regexp.MustCompile(`[^/,*]*nodestore-migrate-[^/,*]*|\d+`).ReplaceAllString(r.URL.Path, "N")
}

// TestRehearsalIsCutShortAnywhere gives up at the first request of each kind that changes
// something; the cluster acts all the same, after that.
func TestRehearsalIsCutShortAnywhere(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 300, Mix: synth.Clean()}, 2)
	backend, err := url.Parse(w.server)
	w.must(err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	forward := httputil.NewSingleHostReverseProxy(backend)
	forward.Transport, forward.ErrorLog = transport, log.New(io.Discard, "", 0)
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {}
	run := func(cutAt string) (places []string, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		seen, cut := make(map[string]bool), false
		proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			at := place(r)
			mu.Lock()
			if !seen[at] && r.Method != http.MethodGet && !strings.Contains(at, "_search") {
				places = append(places, at)
			}
			seen[at] = true
			now := at == cutAt && !cut
			cut = cut || now
			mu.Unlock()
			if now {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				cancel()
				<-r.Context().Done()
			}
			acting, acted := context.WithCancel(context.WithoutCancel(r.Context())) // without Done it would watch the connection
			defer acted()
			forward.ServeHTTP(out, r.WithContext(acting))
		}))
		defer proxy.Close()
		w.reach(proxy.URL)
		defer w.config.Target.Close()
		_, err = rehearsal.Run(ctx, w.config)
		return places, err
	}
	places, err := run("")
	w.must(err)
	w.wantNothing()
	t.Logf("%q", places)
	for _, at := range places {
		if strings.HasPrefix(at, "DELETE /N") && !strings.Contains(at, "_alias") || at == "DELETE /_index_template/N" {
			continue // it is being removed
		}
		_, err := run(at)
		if w.wantNothing(); t.Failed() || err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("cut at %s, it ended with %v", at, err)
		}
	}
}

// TestRehearsalThatMayNotRemove has a user without the right to remove a template: what
// was found is told all the same, and so is what is left.
func TestRehearsalThatMayNotRemove(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 100, Mix: synth.Clean()}, 1)
	backend, err := url.Parse(w.server)
	w.must(err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	forward := httputil.NewSingleHostReverseProxy(backend)
	forward.Transport = transport
	var left string
	proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		name, template := strings.CutPrefix(r.URL.Path, "/_index_template/")
		if !template || r.Method != http.MethodDelete {
			forward.ServeHTTP(out, r)
			return
		}
		left = name
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(out, `{"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403}`)
	}))
	defer proxy.Close()
	w.reach(proxy.URL)
	defer w.config.Target.Close()
	r, err := rehearsal.Run(t.Context(), w.config)
	if remedy := hint.Of(err); err == nil || !strings.Contains(remedy, "DELETE /_index_template/"+left) || !r.Complete() {
		t.Errorf("it ended with %v (%s), %+v", err, remedy, r)
	}
	w.wantNothing(left)
	w.call(http.MethodDelete, "/_index_template/"+left, "")
}
