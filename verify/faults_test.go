package verify_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// through has the world's target answer by way of a faulty proxy.
func (w *world) through(rule faulty.Rule) {
	w.t.Helper()
	server, err := url.Parse(w.server)
	w.must(err)
	proxy := faulty.NewHTTPProxy(w.t, server.Host, rule)
	w.parts.Target, err = target.Open(w.t.Context(), target.Config{Config: cluster.Config{URLs: []string{proxy.URL()}, Patience: time.Second}, Backend: w.backend})
	w.must(err)
	w.t.Cleanup(w.parts.Target.Close)
}

// TestABusyClusterIsNoFinding has every fourth question refused or cut.
func TestABusyClusterIsNoFinding(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	faults := []faulty.Fault{{Status: http.StatusTooManyRequests}, {Status: http.StatusServiceUnavailable}, {Cut: faulty.InAnswer}, {Cut: faulty.BeforeServer}}
	w.through(func(_ *http.Request, n int) faulty.Fault {
		if n < 5 || n%4 != 0 { // the first are of Open
			return faulty.Fault{}
		}
		return faults[n/4%len(faults)]
	})
	o := w.options(verify.Full)
	said := &said{}
	o.Notify = said.hear
	if r := w.verify(o); r.Findings.Total != 0 || r.Total.All.Nodes != int64(len(w.rows)) {
		t.Errorf("findings %v", w.listed())
	}
	if said.text() == "" {
		t.Error("no question was asked again")
	}
}

// TestAClusterThatDoesNotAnswerIsNoPass refuses one kind of question for good.
func TestAClusterThatDoesNotAnswerIsNoPass(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"_search", "_stats", "_doc"} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t, 60, synth.Clean())
			w.through(func(r *http.Request, _ int) faulty.Fault {
				if strings.Contains(r.URL.Path, path) {
					return faulty.Fault{Status: http.StatusForbidden}
				}
				return faulty.Fault{}
			})
			if r, err := verify.New(w.parts, w.options(verify.Full)).Run(t.Context()); err == nil {
				t.Errorf("without answers to %s the verdict is %+v", path, r.Verdict)
			}
		})
	}
}
