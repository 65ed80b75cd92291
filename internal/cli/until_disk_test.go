package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/plan"
)

// roomy stands before OpenSearch, and says how much room its one node has.
type roomy struct {
	*httptest.Server
	room  atomic.Int64 // bytes until the load has to end
	bulks atomic.Int64
	last  int64 // the bulk with which the room is used up; 0: it never is
}

func newRoomy(t *testing.T, address string) *roomy {
	t.Helper()
	backend, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(backend)
	r := &roomy{}
	r.room.Store(1e12)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/_bulk") {
			if r.bulks.Add(1) == r.last {
				r.room.Store(-1e10)
			}
		}
		if q.URL.Path != "/_nodes/stats/fs" {
			forward.ServeHTTP(w, q)
			return
		}
		const total = int64(1e13)
		free := total/10 + total/50 + r.room.Load() // flood stage 90 %, and what the tool leaves beside it
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"nodes":{"a":{"name":"a","roles":["data"],"fs":{"total":{"total_in_bytes":%d,"available_in_bytes":%d}}}}}`, total, free)
	}))
	t.Cleanup(r.Close)
	return r
}

// TestUntilDisk has room for one of three days, then for all, and then for none of what
// came since.
func TestUntilDisk(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	setWatermarks(t, server, 90, 90)
	front := newRoomy(t, server)
	dir, from := t.TempDir(), filledSource(t, 600)
	flags := func(verb string) []string {
		return []string{
			verb, "--source", from, "--target", front.URL, "--region", "test", "--alias", "held", "--template", "held", "--index", "held-{date}",
			"--checkpoint", dir + "/test.checkpoint", "--json",
		}
	}
	environment := map[string]string{"SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN": "held-*", "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC": "best_compression"}
	call := func(want int, answer any, args ...string) string {
		t.Helper()
		out, errs := &transcript{}, &transcript{}
		code := run(t.Context(), &process{stdout: out, stderr: errs, getenv: func(name string) string { return environment[name] }, stop: make(chan struct{})}, args)
		if code != want {
			t.Fatalf("exit code %d, want %d\n%s\n%s", code, want, out, errs)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if answer != nil {
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), answer); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
		}
		return errs.String()
	}
	var made plan.Plan
	call(exitDone, &made, flags("plan")...)
	if len(made.Days) != 3 || made.Cost.FitsSince != "2025-03-01" {
		t.Fatalf("%d days, of which all fit since %q", len(made.Days), made.Cost.FitsSince)
	}
	ofNewest := int64(made.Cost.Factor * float64(made.Days[2].Bytes))

	front.room.Store(made.Cost.MergeBytes + ofNewest*3/2)
	call(exitNoGo, &made, flags("plan")...)
	if made.Cost.FitsSince != "2025-03-03" {
		t.Errorf("there is room since %q", made.Cost.FitsSince)
	}
	var r result
	copying := append(flags("migrate"), "--until-disk", "--compact", "never", "--bulk-bytes", "64KiB")
	call(exitRejected, &r, copying...)
	if r.Days != 1 || r.Sealed != 1 || r.FitsSince != "2025-03-03" || r.Full != "" {
		t.Errorf("with room for one: %+v", r)
	}

	front.room.Store(made.Cost.MergeBytes / 2)
	before := front.bulks.Load()
	if said := call(exitFailed, nil, copying...); !strings.Contains(said, "not even one more day has room") || front.bulks.Load() != before {
		t.Errorf("with no room: %d bulks\n%s", front.bulks.Load()-before, said)
	}

	front.room.Store(1e12)
	front.last = front.bulks.Load() + 2
	r = result{}
	call(exitRejected, &r, append(copying, "--max-mb-per-second", "0.1")...)
	if r.Days != 3 || r.Sealed == 3 || !strings.HasPrefix(r.Full, "a's disk is at ") || r.Run.Nodes == 0 {
		t.Errorf("with room until the second bulk: %+v", r)
	}

	front.room.Store(1e12)
	call(exitDone, &r, copying...)
	if r.Days != 3 || r.Sealed != 3 {
		t.Errorf("with room for all: %+v", r)
	}
}
