package verify_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
)

// TestRepair damages a world in all ways at once, and repairs it.
func TestRepair(t *testing.T) {
	w := newWorld(t, 400, synth.Clean())
	missing, doubled, strayed, older, broken := w.rows[10], w.rows[60], w.rows[70], w.rows[80], w.rows[90]
	w.remove(w.index(missing.Timestamp), missing.ID)
	w.put(w.index(doubled.Timestamp.Add(neighbour(doubled.Timestamp))), doubled.ID, doubled.Data, doubled.Timestamp.AddDate(0, 0, -1))
	w.put(w.index(strayed.Timestamp.Add(neighbour(strayed.Timestamp))), strayed.ID, strayed.Data, strayed.Timestamp)
	w.remove(w.index(strayed.Timestamp), strayed.ID)
	// A document whose version the tool gave it, then a row that Sentry rewrote.
	w.exec(`update nodestore_node set data = $1, "timestamp" = $2 where id = $3`,
		other(w, older).Data, older.Timestamp.Add(time.Second).Truncate(time.Millisecond), older.ID)
	w.put(w.index(broken.Timestamp), broken.ID, junk, broken.Timestamp)
	w.put(w.index(start), "extra", w.rows[0].Data, start.Add(time.Hour))
	want := map[verify.Class]int64{
		verify.Missing: 1, verify.TwoPlaces: 1, verify.WrongDay: 1, verify.Different: 1, verify.Unreadable: 1, verify.Extra: 1,
	}

	for _, level := range []verify.Level{verify.Full, verify.Sample} {
		o := w.options(level)
		said := &said{}
		o.Repair, o.Notify = repair.Say, said.hear
		r := w.verify(o)
		wantCounts(t, w, r, want)
		if r.Repairs != nil || !strings.Contains(said.text(), "repair: 4 nodes to copy again, 2 nodes to leave with one copy; 2 findings that no repair is known for") {
			t.Errorf("a dry run did %v and said %q", r.Repairs, said.text())
		}
	}
	o := w.options(verify.Full)
	o.Repair = repair.Do
	r := w.verify(o)
	wantCounts(t, w, r, map[verify.Class]int64{verify.Unreadable: 1, verify.Extra: 1})
	if r.Repairs["stale_copies_removed"] != 2 || r.Repairs["nodes_copied_again"] != 3 {
		t.Errorf("repairs: %v", r.Repairs)
	}
	if got := r.Total.All.Nodes; got != int64(len(w.rows)) {
		t.Errorf("%d payloads count as compared, want %d", got, len(w.rows))
	}
	for _, level := range []verify.Level{verify.IDs, verify.Full} {
		r = w.verify(w.options(level))
		if r.Findings.Counts[verify.Extra] != 1 || r.Findings.Total > 2 {
			t.Errorf("%s after the repair: %v", level, w.listed())
		}
	}
	for _, row := range []synth.Row{missing, doubled, strayed} {
		sight, err := w.parts.Target.Read(t.Context(), row.ID)
		w.must(err)
		inner, err := node.Decode(nil, sight.Data)
		w.must(err)
		if sight.Index != w.index(row.Timestamp) || string(inner) != string(row.Inner) {
			t.Errorf("%s is read from %q with %d bytes", row.ID, sight.Index, len(inner))
		}
	}
}

func wantCounts(t *testing.T, w *world, r *verify.Report, want map[verify.Class]int64) {
	t.Helper()
	for _, class := range verify.Classes() {
		if r.Findings.Counts[class] != want[class] {
			t.Errorf("%s: %d %s, want %d: %v", r.Level, r.Findings.Counts[class], class, want[class], w.listed())
		}
	}
}

// said is what a verification told.
type said struct {
	mu     sync.Mutex
	events []verify.Event
}

func (s *said) hear(e verify.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text []string
	for _, e := range s.events {
		text = append(text, e.Cause)
	}
	return strings.Join(text, "\n")
}
