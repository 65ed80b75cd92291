package verify_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
)

// breakFour makes four payloads of different days unreadable.
func breakFour(w *world) {
	for _, i := range []int{5, 150, 250, 390} {
		w.put(w.index(w.rows[i].Timestamp), w.rows[i].ID, junk, w.rows[i].Timestamp)
	}
}

// TestInterruptedRunsGoOn stops a full verification in good order and by a
// cut, again and again, and continues until it is through.
func TestInterruptedRunsGoOn(t *testing.T) {
	w := newWorld(t, 400, synth.Clean())
	breakFour(w)
	runs := 0
	for left := 2; ; left += 2 {
		runs++
		report, err := w.verifyUntil(left, runs%2 == 0)
		if err == nil {
			if report.Findings.Counts[verify.Unreadable] != 4 || report.Findings.Total != 4 || len(w.listed()) != 4 {
				t.Errorf("findings %v", w.listed())
			}
			if n := report.Total.All.Nodes; n != int64(len(w.rows)) || !report.Complete {
				t.Errorf("%d payloads count as compared, want %d", n, len(w.rows))
			}
			break
		}
		if !errors.Is(err, verify.ErrInterrupted) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		w.must(w.parts.Checkpoint.Close())
		// What a crash leaves behind what the checkpoint knows.
		file, err := os.OpenFile(w.findingsFile(), os.O_APPEND|os.O_WRONLY, 0)
		w.must(err)
		_, err = file.WriteString(`{"class":"missing","id":"half a li`)
		w.must(errors.Join(err, file.Close()))
		w.openCheckpoint()
	}
	if runs < 3 {
		t.Errorf("it was through after %d runs: nothing was interrupted", runs)
	}
}

// verifyUntil ends a full run after some events: in good order, or at once.
func (w *world) verifyUntil(events int, cut bool) (*verify.Report, error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	stop := make(chan struct{})
	o := w.options(verify.Full)
	o.Stop = stop
	var mu sync.Mutex
	o.Notify = func(verify.Event) {
		mu.Lock()
		defer mu.Unlock()
		if events--; events != 0 {
			return
		}
		if cut {
			cancel()
			return
		}
		close(stop)
	}
	return verify.New(w.parts, o).Run(ctx)
}

func TestSubsetsAddUp(t *testing.T) {
	w := newWorld(t, 400, synth.Clean())
	breakFour(w)
	var nodes int64
	for part := 1; part <= 3; part++ {
		o := w.options(verify.Full)
		o.Subset = verify.Subset{Part: part, Of: 3}
		r := w.verify(o)
		if r.Total.All.Nodes <= nodes || r.Complete != (part == 3) || r.Verdict.SafeToDrop {
			t.Errorf("part %d: %d payloads compared, complete %v", part, r.Total.All.Nodes, r.Complete)
		}
		nodes = r.Total.All.Nodes
		if part == 3 && (nodes != int64(len(w.rows)) || r.Findings.Total != 4) {
			t.Errorf("together: %d of %d payloads, findings %v", nodes, len(w.rows), w.listed())
		}
	}
	// What is complete is compared again when it is asked for again.
	w.put(w.index(w.rows[5].Timestamp), w.rows[5].ID, w.rows[5].Data, w.rows[5].Timestamp)
	if r := w.verify(w.options(verify.Full)); r.Findings.Total != 3 {
		t.Errorf("findings %v", w.listed())
	}
}

func TestAnErrorIsNoPass(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.exec("alter table nodestore_node rename to elsewhere")
	if r, err := verify.New(w.parts, w.options(verify.IDs)).Run(t.Context()); err == nil {
		t.Errorf("verdict %+v of a table that is gone", r.Verdict)
	}
	w.exec("alter table elsewhere rename to nodestore_node")
	w.must(os.WriteFile(w.findingsFile(), nil, 0o600))
	o := w.options(verify.IDs)
	o.Findings = strings.Repeat("x", 5000) // no file can be called that
	if _, err := verify.New(w.parts, o).Run(t.Context()); err == nil {
		t.Error("no error without a file of findings")
	}
}

// TestResultsOfAnIndexThatChangedAreNotReused interrupts a run behind a day that
// changes before the run is resumed.
func TestResultsOfAnIndexThatChangedAreNotReused(t *testing.T) {
	t.Parallel()
	first := start.Format(time.DateOnly)
	gone := func(w *world) { w.remove(w.index(w.rows[5].Timestamp), w.rows[5].ID) }
	nothing := func(*world) {}
	tests := []struct {
		name           string
		before, change func(w *world)
		level          verify.Level
		findings       int64
	}{
		{"a document deleted", nothing, gone, verify.Full, 1},
		{"a document overwritten", nothing, func(w *world) {
			w.put(w.index(w.rows[5].Timestamp), w.rows[5].ID, junk, w.rows[5].Timestamp)
		}, verify.Full, 1},
		{"a finding mended", gone, func(w *world) { w.putAll(w.rows[5:6], "") }, verify.Full, 0},
		{"a defect of the sample mended", func(w *world) { w.putAll(w.rows[5:6], junk) }, func(w *world) { w.putAll(w.rows[5:6], "") }, verify.Sample, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 200, synth.Clean())
			w.switchOver()
			test.before(w)
			stop := make(chan struct{})
			var once sync.Once
			o := w.options(test.level)
			o.Stop, o.Notify = stop, func(e verify.Event) {
				if e.Kind == verify.DayCompared && e.Day > first {
					once.Do(func() { close(stop) })
				}
			}
			if _, err := verify.New(w.parts, o).Run(t.Context()); !errors.Is(err, verify.ErrInterrupted) {
				t.Fatal(err)
			}
			test.change(w)
			r := w.verify(w.options(test.level))
			if r.Findings.Total != test.findings || test.level == verify.Full && r.Total.All.Nodes != int64(len(w.rows)) {
				t.Errorf("findings %v, %d payloads", w.listed(), r.Total.All.Nodes)
			}
			if test.level == verify.Sample {
				wantDoubt(t, r, "this sample was used to repair", "another sample")
				wantSafe(t, w.verify(w.options(test.level)))
			}
		})
	}
}

// TestAnIndexThatChangesWhileItIsComparedIsADoubt, even if it looks the same after.
func TestAnIndexThatChangesWhileItIsComparedIsADoubt(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	o := w.options(verify.Full)
	o.Notify = func(e verify.Event) {
		if e.Kind == verify.DayCompared && e.Day == start.Format(time.DateOnly) {
			w.put(w.index(w.rows[5].Timestamp), w.rows[5].ID, w.rows[5].Data, w.rows[5].Timestamp)
		}
	}
	wantDoubt(t, w.verify(o), "changed since they were compared: "+w.index(start), "verify again")
}

// TestARepairThatIsInterruptedForgetsNoFinding stops it before it has compared again
// what it repaired.
func TestARepairThatIsInterruptedForgetsNoFinding(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	breakPayload, missing := w.rows[5], w.rows[20]
	w.put(w.index(breakPayload.Timestamp), breakPayload.ID, junk, breakPayload.Timestamp)
	w.remove(w.index(missing.Timestamp), missing.ID)
	stop := make(chan struct{})
	var once sync.Once
	o := w.options(verify.Full)
	o.Repair, o.Stop, o.Notify = repair.Do, stop, func(e verify.Event) {
		if e.Kind == verify.Repairing {
			once.Do(func() { close(stop) })
		}
	}
	if _, err := verify.New(w.parts, o).Run(t.Context()); !errors.Is(err, verify.ErrInterrupted) {
		t.Fatal(err)
	}
	if r := w.verify(w.options(verify.Full)); r.Findings.Counts[verify.Unreadable] != 1 || r.Findings.Total != 1 {
		t.Errorf("findings %v", w.listed())
	}
}

// A checkpoint of a version that had other names for what it counted is read, and its
// days are compared again: under the names of today they would have no rows.
func TestARecordWithOtherNamesIsComparedAgain(t *testing.T) {
	w := newWorld(t, 400, synth.Clean())
	if _, err := w.verifyUntil(6, false); !errors.Is(err, verify.ErrInterrupted) {
		t.Fatal(err)
	}
	results := 0
	before := strings.NewReplacer(`"rows":`, `"source":`, `"timestamp_sum_microseconds":`, `"timestamp_sum":`, `"rows_by_size":`, `"sizes":`)
	w.change(func(s *checkpoint.State) {
		s.Verify.Run = strings.Replace(s.Verify.Run, " days=2", "", 1)
		for _, d := range s.Verify.Days {
			if d.Result != nil {
				results++
				d.Result = []byte(before.Replace(string(d.Result)))
			}
		}
	})
	if results == 0 {
		t.Fatal("nothing was recorded before the interrupt")
	}
	w.must(w.parts.Checkpoint.Close())
	w.openCheckpoint()
	if r := w.verify(w.options(verify.Full)); r.Total.Source != 400 || r.Total.All.Nodes != 400 || r.Findings.Total != 0 {
		t.Errorf("%d rows, %d payloads, findings %v", r.Total.Source, r.Total.All.Nodes, w.listed())
	}
}
