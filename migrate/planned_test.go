package migrate_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// statusView is what these tests read of `status --json`.
type statusView struct {
	Active    bool
	States    map[string]int `json:"days_by_state"`
	Remaining int64          `json:"estimated_remaining_bytes"`
	Borrowed  []struct{ Index string }
	Days      []struct {
		State            string
		Nodes, Documents int64
		Rejected         int64
	}
}

// status asks how far the migration is, as another process.
func (w *world) status(flags ...string) (s statusView) {
	w.t.Helper()
	command := exec.Command(os.Args[0], append([]string{"status", "--json", "--checkpoint", w.checkpoint()}, flags...)...)
	command.Env = append(os.Environ(), childVariable+"=1")
	out, err := command.Output()
	if err != nil {
		w.t.Fatalf("status: %v, %s", err, out)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		w.t.Fatalf("status: %v in %s", err, out)
	}
	return s
}

// What is to come is in the checkpoint, also for days that are not begun yet:
// status tells what remains while another process runs, and at the end how many
// documents there are.
func TestStatusOfARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(31, 300, 4))
	gate, reached, open := w.held(1)
	c := w.start("--target", gate.server.URL)
	<-reached
	s := w.status()
	if !s.Active || len(s.Days) != 4 || s.States["planned"] == 0 || s.Remaining <= 0 || len(s.Borrowed) == 0 {
		t.Errorf("while it runs: %+v", s)
	}
	close(open)
	c.wants(exitRejected)

	// The alias and the indices are those of the checkpoint, not the defaults.
	s = w.status("--target", w.target)
	if s.States["sealed"] != 4 || s.Remaining != 0 || len(s.Borrowed) != 0 {
		t.Errorf("at the end: %+v", s)
	}
	var nodes int64
	for _, d := range s.Days {
		nodes += d.Nodes
		if d.Documents != d.Nodes-d.Rejected {
			t.Errorf("at the end: %+v", d)
		}
	}
	if nodes != int64(len(w.rows)) {
		t.Errorf("%d nodes have a fate, of %d", nodes, len(w.rows))
	}
}
