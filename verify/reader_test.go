package verify_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
)

// TestWhatTheAliasHides is not missing: its index has it, but Sentry does not see it.
func TestWhatTheAliasHides(t *testing.T) {
	t.Parallel()
	for name, property := range map[string]string{
		"filter":  `"filter":{"range":{"timestamp":{"gte":"2025-03-01T12:00:00Z"}}}`,
		"routing": `"routing":"elsewhere"`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldChecked(t, node.Full, synth.Options{Rows: 150, Mix: synth.Clean()}, func(w *world) { w.backend.Shards = 3 })
			w.call("POST", "/_aliases", `{"actions":[{"add":{"index":"`+w.index(start)+`","alias":"`+w.backend.Alias+`",`+property+`}}]}`)
			o := w.options(verify.Full)
			o.Repair = repair.Do
			r := w.verify(o)
			if n := r.Findings.Counts[verify.Unreadable]; n < 10 || n != r.Findings.Total || !strings.Contains(w.listed()[0].Known, "filter") {
				t.Errorf("findings %v, %v", r.Findings.Counts, w.listed()[:min(3, len(w.listed()))])
			}
			if r.Repairs["nodes_copied_again"]+r.Repairs["stale_copies_removed"] > 0 {
				t.Errorf("repairs %v", r.Repairs)
			}
		})
	}
}

// TestOneDayIsComparedWithAllIndices finds the other copy of a node outside the
// days that were asked for.
func TestOneDayIsComparedWithAllIndices(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	r := w.rows[10]
	w.put(w.index(start.AddDate(0, 0, 2)), r.ID, r.Data, r.Timestamp)
	o := w.options(verify.IDs)
	o.Since, o.Until = node.DayOf(start.UnixMicro()), node.DayOf(start.AddDate(0, 0, 1).UnixMicro())
	if report := w.verify(o); report.Findings.Counts[verify.TwoPlaces] != 1 || report.Findings.Total != 1 {
		t.Errorf("findings %v", w.listed())
	}
}

// TestANodeThatWasRewrittenWithinItsMinute is found without reading payloads.
func TestANodeThatWasRewrittenWithinItsMinute(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	older, newer := w.rows[10], w.rows[20]
	w.put(w.index(older.Timestamp), older.ID, older.Data, older.Timestamp.Add(-2*time.Millisecond))
	w.put(w.index(newer.Timestamp), newer.ID, newer.Data, newer.Timestamp.Add(2*time.Millisecond))
	for _, level := range []verify.Level{verify.IDs, verify.Full} {
		if r := w.verify(w.options(level)); r.Findings.Counts[verify.Different] != 2 || r.Findings.Total != 2 {
			t.Errorf("%s: findings %v", level, w.listed())
		}
	}
}

// TestMinutesTooFullForAnExactSum are compared node by node.
func TestMinutesTooFullForAnExactSum(t *testing.T) {
	w := newWorld(t, 10, synth.Clean())
	w.exec(`insert into nodestore_node select 'full' || i, $1, $2::timestamptz + i * interval '7 ms' from generate_series(1, 5000) i`,
		w.rows[0].Data, start.Add(time.Hour))
	full := make([]synth.Row, 5000)
	for i := range full {
		full[i] = synth.Row{ID: fmt.Sprintf("full%d", i+1), Data: w.rows[0].Data, Timestamp: start.Add(time.Hour + time.Duration(7*(i+1))*time.Millisecond)}
	}
	w.putAll(full, "")
	if r := w.verify(w.options(verify.IDs)); r.Findings.Total != 0 || r.Total.Present != 5010 {
		t.Fatalf("findings %v", w.listed()[:min(3, len(w.listed()))])
	}
	for id, at := range map[string]int{"full3": 20, "full4000": 28_001} { // by 1 ms each, in either direction
		w.put(w.index(start), id, w.rows[0].Data, start.Add(time.Hour+time.Duration(at)*time.Millisecond))
	}
	if r := w.verify(w.options(verify.IDs)); r.Findings.Counts[verify.Different] != 2 || r.Findings.Total != 2 {
		t.Errorf("findings %v", w.listed())
	}
}

// TestWhatSentryWroteAfterTheSwitch is neither different nor unreadable nor in a
// wrong day, and what it wrote at midnight is right in the index of the day before.
func TestWhatSentryWroteAfterTheSwitch(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	at := start.AddDate(0, 0, 3) // midnight after the last day
	w.change(func(s *checkpoint.State) { s.CatchUp.SwitchedAt = at.Add(-time.Hour).UnixMicro() })
	rewritten, midnight := w.rows[10], w.rows[140]
	w.put(w.index(rewritten.Timestamp), rewritten.ID, other(w, rewritten).Data, at.Add(-time.Minute))
	w.remove(w.index(midnight.Timestamp), midnight.ID)
	w.put(w.index(at.AddDate(0, 0, -1)), midnight.ID, other(w, midnight).Data, at.Add(time.Second))
	o := w.options(verify.Full)
	o.Repair = repair.Do
	if r := w.verify(o); r.Findings.Total != 0 || r.Repairs != nil {
		t.Errorf("findings %v, repairs %v", w.listed(), r.Repairs)
	}
	// The same before the switch is a finding.
	w.change(func(s *checkpoint.State) { s.CatchUp.SwitchedAt = 0 })
	if r := w.verify(w.options(verify.Full)); r.Findings.Total != 2 {
		t.Errorf("findings %v", w.listed())
	}
}

// TestRepairLooksAtBothSidesAsItActs lets Sentry act between finding and repairing:
// at the first bulk request, before it reaches the server.
func TestRepairLooksAtBothSidesAsItActs(t *testing.T) {
	t.Parallel()
	const i = 10
	tests := []struct {
		name      string
		before    func(w *world)
		meanwhile func(w *world)
		present   bool // the node is there in the end
	}{
		{name: "deleted in the wrong day", before: func(w *world) {
			r := w.rows[i]
			w.put(w.index(r.Timestamp.Add(neighbour(r.Timestamp))), r.ID, r.Data, r.Timestamp)
			w.remove(w.index(r.Timestamp), r.ID)
		}, meanwhile: func(w *world) {
			w.remove(w.index(w.rows[i].Timestamp.Add(neighbour(w.rows[i].Timestamp))), w.rows[i].ID)
		}},
		{name: "deleted where it is older than its row", before: func(w *world) {
			r := w.rows[i]
			w.put(w.index(r.Timestamp), r.ID, r.Data, r.Timestamp.Add(-time.Second))
		}, meanwhile: func(w *world) {
			w.remove(w.index(w.rows[i].Timestamp), w.rows[i].ID)
		}},
		{name: "rewritten in the wrong day", before: func(w *world) {
			r := w.rows[i]
			w.put(w.index(r.Timestamp.Add(neighbour(r.Timestamp))), r.ID, r.Data, r.Timestamp)
			w.remove(w.index(r.Timestamp), r.ID)
		}, meanwhile: func(w *world) {
			r := w.rows[i]
			w.put(w.index(r.Timestamp.Add(neighbour(r.Timestamp))), r.ID, r.Data, time.Now())
		}, present: true},
		{name: "missing since the switch", before: func(w *world) {
			w.remove(w.index(w.rows[i].Timestamp), w.rows[i].ID)
		}, meanwhile: func(*world) {}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 150, synth.Clean())
			w.switchOver()
			test.before(w)
			var once sync.Once
			w.through(func(r *http.Request, _ int) faulty.Fault {
				if strings.Contains(r.URL.Path, "_bulk") {
					once.Do(func() { test.meanwhile(w) })
				}
				return faulty.Fault{}
			})
			o := w.options(verify.IDs)
			o.Repair = repair.Do
			w.verify(o)
			sight, err := w.parts.Target.Read(t.Context(), w.rows[i].ID)
			w.must(err)
			if (sight.Copies == 1) != test.present || sight.Copies > 1 {
				t.Errorf("%d copies, in %s", sight.Copies, sight.Index)
			}
		})
	}
}

// TestRepairKeepsTheNewerOfTwoCopies, whatever the row says.
func TestRepairKeepsTheNewerOfTwoCopies(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	r := w.rows[10]
	w.put(w.index(r.Timestamp.Add(neighbour(r.Timestamp))), r.ID, r.Data, r.Timestamp.Add(time.Hour))
	o := w.options(verify.IDs)
	o.Repair = repair.Do
	if report := w.verify(o); report.Repairs["stale_copies_removed"] != 0 || report.Findings.Counts[verify.TwoPlaces] != 1 {
		t.Errorf("repairs %v, findings %v", report.Repairs, w.listed())
	}
	// After the switch the newer one is Sentry's, and the older one goes.
	w.change(func(s *checkpoint.State) { s.CatchUp.SwitchedAt = r.Timestamp.Add(time.Minute).UnixMicro() })
	if report := w.verify(o); report.Repairs["stale_copies_removed"] != 1 || report.Findings.Total != 0 {
		t.Errorf("repairs %v, findings %v", report.Repairs, w.listed())
	}
}

// TestRepairWritesOnlyWhereSentryCanRead leaves an index alone whose mapping
// breaks the reader's contract, and a lost day.
func TestRepairWritesOnlyWhereSentryCanRead(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	w.call("DELETE", "/"+w.index(start), "")
	w.call("DELETE", "/_index_template/"+w.backend.Template, "")
	w.call("PUT", "/"+w.index(start), `{"aliases":{"`+w.backend.Alias+`":{}},"mappings":{"properties":{"timestamp":{"type":"date"},"data":{"type":"text"}}}}`)
	o := w.options(verify.IDs)
	o.Repair = repair.Do
	if r := w.verify(o); r.Repairs["nodes_copied_again"] != 0 || r.Findings.Counts[verify.Missing] != 50 {
		t.Errorf("repairs %v, findings %v", r.Repairs, r.Findings.Counts)
	}
}

func TestReportsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "no", "report.html"), t.TempDir()} {
		if err := verify.CheckWritable(path); err == nil {
			t.Errorf("%s can be written", path)
		}
	}
}

// TestRowsThatAreGoneSinceTheSwitch leave documents that no step advises to remove.
func TestRowsThatAreGoneSinceTheSwitch(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	w.exec(`delete from nodestore_node where "timestamp" < $1`, start.AddDate(0, 0, 1))
	o := w.options(verify.Full)
	o.Repair = repair.Do
	r := w.verify(o)
	if r.Findings.Counts[verify.Extra] != 20 || r.Repairs["stale_copies_removed"] != 0 || r.Verdict.SafeToDrop {
		t.Errorf("findings %v, repairs %v", r.Findings.Counts, r.Repairs)
	}
	if steps := strings.Join(r.NextSteps, "\n"); strings.Contains(steps, "migrate") || strings.Contains(steps, "--repair") {
		t.Errorf("next steps %q", steps)
	}
}

// TestVerifyOfAnEmptiedTable: there is nothing to compare, and that is said, whichever
// days are asked for. What is recorded of the verification before stays.
func TestVerifyOfAnEmptiedTable(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	w.verify(w.options(verify.Full))
	var before checkpoint.Verify
	w.parts.Checkpoint.View(func(s *checkpoint.State) { before = *s.Verify })
	w.exec("truncate nodestore_node")
	for _, o := range []verify.Options{
		w.options(verify.Full), w.options(verify.Counts), {Since: node.DayOf(start.UnixMicro()), Level: verify.IDs, Findings: w.findingsFile(), RejectedList: w.rejectedList()},
	} {
		_, err := verify.New(w.parts, o).Run(t.Context())
		if emptied, ok := errors.AsType[*verify.EmptiedError](err); !ok || emptied.Nodes != 60 || emptied.Table != "public.nodestore_node" {
			t.Errorf("level %s: %v", o.Level, err)
		}
	}
	w.parts.Checkpoint.View(func(s *checkpoint.State) {
		if !s.Verify.Started.Equal(before.Started) || s.Verify.Run != before.Run || !s.Verify.Complete {
			t.Errorf("the record is %+v, was %+v", *s.Verify, before)
		}
	})
	// With rows that nobody has migrated it is not an emptied table, but another one.
	w.exec(`insert into nodestore_node (id, data, "timestamp") values ('new', 'eJwDAAAAAAE=', now())`)
	if r := w.verify(w.options(verify.Counts)); r.Verdict.SafeToDrop || r.Findings.Counts[verify.Extra] != days {
		t.Errorf("safe %t, findings %v", r.Verdict.SafeToDrop, r.Findings.Counts)
	}
}

// TestMoreSuspectsThanAreKept are settled while their unit is still read.
func TestMoreSuspectsThanAreKept(t *testing.T) {
	w := newWorldChecked(t, node.Full, synth.Options{Rows: 3, Mix: synth.Clean()}, tiny(60_000))
	w.call("DELETE", "/"+w.backend.Alias+"-*", "")
	w.exec(`update nodestore_node set "timestamp" = $1`, start.Add(time.Hour)) // all in one unit
	if r := w.verify(w.options(verify.IDs)); r.Findings.Counts[verify.Missing] != 60_003 {
		t.Errorf("findings %v", r.Findings.Counts)
	}
}
