package migrate_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
)

// TestControlFile changes the limits of a run while nodes travel: it is paused,
// given other limits, and let continue.
func TestControlFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(70, 250, 3))
	gate, reached, open := w.held(5)
	c := w.start("--target", gate.server.URL, "--control", w.control())
	<-reached
	w.control("paused = true")
	c.reports(`"event":"held","cause":"paused by the operator"`)
	c.reports(`"event":"limits","cause":"at most 2 senders, paused"`)
	close(open)
	s := c.snapshot()
	for s.Active > 0 { // what was under way is let through
		s = c.snapshot()
	}
	stored := w.count()
	if s.Held != "paused by the operator" || stored == 0 || stored >= int64(len(w.rows)) {
		t.Fatalf("%d nodes of %d are stored, and the state is %+v", stored, len(w.rows), s)
	}
	// Two changes are two looks at the file: the time for which nothing is stored.
	w.control("paused = true", "senders = none")
	c.reports(`"event":"warning","cause":"read control file ` + filepath.Join(w.dir, "control") + `: line 2: senders`)
	w.control("paused = true", "senders = 1", "max-mb-per-second = 20")
	c.reports(`"event":"limits","cause":"at most 1 senders and 20 MB/s, paused"`)
	if s := c.snapshot(); s.Limits != (governor.Limits{Senders: 1, MBPerSecond: 20, Paused: true}) || s.Senders != 1 || s.Active != 0 {
		t.Errorf("state %+v", s)
	}
	if now := w.count(); now != stored {
		t.Errorf("%d nodes were stored when it was paused, and now %d", stored, now)
	}
	w.control("senders = 9", "max-mb-per-second = 20") // more than --senders are not there
	c.reports(`"event":"held"}`)
	c.reports(`"event":"limits","cause":"at most 2 senders and 20 MB/s"}`)
	c.wants(exitRejected)
	w.wantAllStored(c)
}

// control replaces the control file at once, as Kubernetes does a ConfigMap's,
// and returns its name.
func (w *world) control(lines ...string) (path string) {
	w.t.Helper()
	path = filepath.Join(w.dir, "control")
	err := os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// count is the number of documents in the test's indices, found or not.
func (w *world) count() int64 {
	w.t.Helper()
	w.must(http.MethodPost, "/"+w.prefix+"-*/_refresh", "", nil)
	var answer struct{ Count int64 }
	w.must(http.MethodGet, "/"+w.prefix+"-*/_count", "", &answer)
	return answer.Count
}

// snapshot asks the tool with SIGUSR1 for the state of its governor.
func (c *child) snapshot() governor.State {
	c.t.Helper()
	seen := len(c.snapshots())
	if err := c.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		c.t.Fatal(err)
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if states := c.snapshots(); len(states) > seen {
			return states[seen]
		}
		select {
		case <-ticker.C:
		case <-c.ended:
			c.t.Fatalf("it ended and told no state; standard error:\n%s", c.stderr.String())
		}
	}
}

// snapshots are the states that the tool has told so far.
func (c *child) snapshots() (states []governor.State) {
	c.t.Helper()
	for line := range strings.Lines(c.stderr.String()) {
		if !strings.HasPrefix(line, `{"type":"state"`) || !strings.HasSuffix(line, "\n") {
			continue
		}
		var s struct{ Governor governor.State }
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			c.t.Fatalf("%v in %q", err, line)
		}
		states = append(states, s.Governor)
	}
	return states
}
