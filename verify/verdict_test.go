package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
	"github.com/nodestore-migrate/nodestore-migrate/verify/report"
)

// wantDoubt fails unless a report is not safe, for one reason only.
func wantDoubt(t *testing.T, r *verify.Report, reason, step string) {
	t.Helper()
	if r.Verdict.SafeToDrop || len(r.Verdict.Because) != 1 || !strings.Contains(r.Verdict.Because[0], reason) {
		t.Errorf("verdict %+v, want the reason %q", r.Verdict, reason)
	}
	if !strings.Contains(strings.Join(r.NextSteps, "\n"), step) {
		t.Errorf("next steps %q, want %q", r.NextSteps, step)
	}
}

func wantSafe(t *testing.T, r *verify.Report) {
	t.Helper()
	if !r.Verdict.SafeToDrop || r.Findings.Total > 0 {
		t.Errorf("verdict %+v, findings %+v", r.Verdict, r.Findings)
	}
}

// TestTheVerdictNeedsEveryPart takes one part of the evidence away at a time.
func TestTheVerdictNeedsEveryPart(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	day := start.Format(time.DateOnly)
	var kept checkpoint.State
	var keptDay checkpoint.Day
	w.parts.Checkpoint.View(func(s *checkpoint.State) { kept, keptDay = *s, *s.Days[day] })
	completed := func(change func(*checkpoint.Completed)) func(*checkpoint.State) {
		return func(s *checkpoint.State) {
			c := *kept.CatchUp.Completed
			change(&c)
			s.CatchUp.Completed = &c
		}
	}
	ofDay := func(change func(*checkpoint.Day)) func(*checkpoint.State) {
		return func(s *checkpoint.State) {
			d := keptDay
			change(&d)
			s.Days[day] = &d
		}
	}
	tests := []struct {
		name         string
		do           func(*checkpoint.State)
		reason, step string
	}{
		{"no switch", func(s *checkpoint.State) { s.CatchUp.SwitchedAt = 0 }, "no switch is recorded", "docs/switch.md"},
		{"no migration ended", func(s *checkpoint.State) { s.CatchUp.Completed = nil }, "no migration of all days", "migrate"},
		{"of some days", completed(func(c *checkpoint.Completed) { c.Whole = false }), "no migration of all days", "migrate"},
		{"before the switch", completed(func(c *checkpoint.Completed) { c.Switched = false }), "no migration of all days", "migrate"},
		{"shortly after the switch", func(s *checkpoint.State) {
			s.CatchUp.SwitchedAt = s.CopyUntil - 14*time.Minute.Microseconds()
		}, "less than 15m0s after the switch", "migrate"},
		{"overlap of two hours", func(s *checkpoint.State) { s.CatchUp.Overlap = 2 * time.Hour.Microseconds() }, "less than 2h0m0s", "migrate"},
		{"a later run broke off", completed(func(c *checkpoint.Completed) { c.Until-- }), "did not come to its end", "migrate"},
		{"verified before it", completed(func(c *checkpoint.Completed) { c.At = time.Now().Add(time.Hour) }), "began before", "verify again"},
		{"not sealed", ofDay(func(d *checkpoint.Day) { d.Sealed = time.Time{} }), "not finished by the migration: " + day, "migrate"},
		{"borrowed settings", func(s *checkpoint.State) { s.Borrowed["x"] = checkpoint.Borrowed{} }, "to be given back", "--restore-settings"},
		{"lost day", ofDay(func(d *checkpoint.Day) { d.Lost = time.Now() }), "no retention covers the day: " + day, "migrate --copy-again " + day},
		{"dropped, no retention", ofDay(func(d *checkpoint.Day) { d.Dropped = time.Now() }), "no retention covers the day: " + day, "--retention"},
		{"dropped, not covered now", func(s *checkpoint.State) {
			ofDay(func(d *checkpoint.Day) { d.Dropped = time.Now() })(s)
			s.CatchUp.Retention = 9000
		}, "no retention covers the day: " + day, "--retention"},
		{"out of retention, not covered now", ofDay(func(d *checkpoint.Day) {
			d.Fates = node.Fates{node.OutOfRetention: d.Fates.Sum()}
		}), "the retention last given to migrate does not cover", "--accept-out-of-retention 20"},
	}
	for _, test := range tests {
		w.change(test.do)
		r := w.verify(w.options(verify.Full))
		t.Run(test.name, func(t *testing.T) { wantDoubt(t, r, test.reason, test.step) })
		if strings.Contains(strings.Join(r.NextSteps, "\n"), "stop writing") {
			t.Errorf("%s: next steps %q", test.name, r.NextSteps)
		}
		w.change(func(s *checkpoint.State) {
			d := keptDay
			s.Days[day], s.CatchUp = &d, kept.CatchUp
			clear(s.Borrowed)
		})
	}
	wantSafe(t, w.verify(w.options(verify.Full)))
}

// TestDaysOutOfRetentionAreShown in the sentence and in every form, and are
// accepted by the retention or by their number.
func TestDaysOutOfRetentionAreShown(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	w.change(func(s *checkpoint.State) {
		d := s.Days[start.Format(time.DateOnly)]
		d.Fates = node.Fates{node.OutOfRetention: d.Fates.Sum()}
	})
	o := w.options(verify.Full)
	for n, safe := range map[int64]bool{19: false, 20: true, 21: true} {
		o.GiveUp = n
		if r := w.verify(o); r.Verdict.SafeToDrop != safe || !strings.Contains(r.Verdict.Sentence, "not copied: 20 rows of 1 day") {
			t.Errorf("%d given up: %+v", n, r.Verdict)
		}
	}
	w.change(func(s *checkpoint.State) { s.CatchUp.Retention = 90 })
	r := w.verify(w.options(verify.Full))
	wantSafe(t, r)
	for form, ask := range map[string]func(*verify.Report) ([]byte, error){"HTML": report.HTML, "Markdown": report.Markdown} {
		content, err := ask(r)
		w.must(err)
		if strings.Count(string(content), "20 rows of 1 day") < 2 {
			t.Errorf("%s does not show the rows out of retention", form)
		}
	}
	// A day that cleanup dropped stays settled, whatever its nodes' fates were.
	w.change(func(s *checkpoint.State) {
		d := s.Days[start.Format(time.DateOnly)]
		d.Fates, d.Dropped = node.Fates{node.Stored: 15, node.Rejected: 4, node.Moved: 1}, time.Now()
	})
	w.call("DELETE", "/"+w.index(start), "")
	wantSafe(t, w.verify(w.options(verify.Full)))
}

// TestAnIndexThatIsGoneIsNeverOutOfRetention without a record that says so.
func TestAnIndexThatIsGoneIsNeverOutOfRetention(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	w.change(func(s *checkpoint.State) { s.CatchUp.Retention = 90 })
	w.call("DELETE", "/"+w.index(start), "")
	r := w.verify(w.options(verify.IDs))
	if r.Findings.Counts[verify.Missing] != 20 || r.Retired.Rows != 0 {
		t.Errorf("findings %v, out of retention %+v", r.Findings.Counts, r.Retired)
	}
	if steps := strings.Join(r.NextSteps, "\n"); strings.Contains(steps, "--repair") || !strings.Contains(steps, "--copy-missing") {
		t.Errorf("next steps after the switch: %q", steps)
	}
}

// TestRowsDatedInTheFuture keep the table only as long as their documents are not
// as sound as any other.
func TestRowsDatedInTheFuture(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	future := time.Date(2099, 5, 6, 7, 8, 9, 0, time.UTC)
	w.exec(`insert into nodestore_node values ('future', $1, $2)`, w.rows[0].Data, future)
	wantDoubt(t, w.verify(w.options(verify.Full)), "1 row newer than the last pass", "migrate")
	w.put(w.index(future), "future", w.rows[1].Data, future)
	if string(w.rows[0].Inner) != string(w.rows[1].Inner) {
		wantDoubt(t, w.verify(w.options(verify.Full)), "1 row newer than the last pass", "migrate")
	}
	w.put(w.index(future), "future", w.rows[0].Data, future)
	wantSafe(t, w.verify(w.options(verify.Full)))
	w.put(w.index(start), "future", w.rows[0].Data, future)
	wantUnsafe(t, w.verify(w.options(verify.Full)))
}

func wantUnsafe(t *testing.T, r *verify.Report) {
	t.Helper()
	if r.Verdict.SafeToDrop {
		t.Errorf("safe: %s", r.Verdict.Sentence)
	}
}

// indexes switches the upkeep of the indexes on a column off and on, as an index
// that is damaged lacks rows.
func (w *world) indexes(column string, kept bool) {
	w.exec(fmt.Sprintf(`update pg_index set indisready = %t where indrelid = 'nodestore_node'::regclass
		and indkey[0] = (select attnum from pg_attribute where attrelid = indrelid and attname = '%s')`, kept, column))
}

func TestRowsThatTheIndexLacks(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.indexes("timestamp", false)
	w.exec(`insert into nodestore_node select 'hidden' || i, $1, $2 from generate_series(1, 5) i`, w.rows[0].Data, start.Add(time.Hour))
	w.indexes("timestamp", true)
	w.switchOver()
	wantDoubt(t, w.verify(w.options(verify.Full)), "uses no index has 65 rows with a timestamp, and 60 were compared", "REINDEX")
	// One row that the index lacks, and another that it has twice: a count alone
	// would not tell.
	w.exec(`delete from nodestore_node where id like 'hidden%'`)
	w.exec(`insert into nodestore_node values ('endless', $1, 'infinity')`, w.rows[0].Data)
	wantDoubt(t, w.verify(w.options(verify.Full)), "1 row of no usable timestamp", "")
}

// TestDuplicateIDs makes ids twice under a primary key that lacks the newer rows.
func TestDuplicateIDs(t *testing.T) {
	t.Parallel()
	twice := func(t *testing.T, at func(synth.Row) time.Time) *world {
		w := newWorld(t, 60, synth.Clean())
		w.indexes("id", false)
		for _, r := range w.rows[:3] {
			w.exec(`insert into nodestore_node values ($1, $2, $3)`, r.ID, other(w, r).Data, at(r))
		}
		w.indexes("id", true)
		return w
	}
	otherDay := func(r synth.Row) time.Time { return r.Timestamp.Add(neighbour(r.Timestamp)) }
	t.Run("the newer one is nowhere", func(t *testing.T) {
		w := twice(t, otherDay)
		r := w.verify(w.options(verify.IDs))
		if r.Findings.Total != 3 || !slices.ContainsFunc(w.listed(), func(f verify.Finding) bool { return f.ID == w.rows[0].ID }) {
			t.Errorf("findings %v", w.listed())
		}
	})
	t.Run("both are documents", func(t *testing.T) {
		w := twice(t, otherDay)
		for _, r := range w.rows[:3] {
			w.put(w.index(otherDay(r)), r.ID, other(w, r).Data, otherDay(r))
		}
		o := w.options(verify.Full)
		if r := w.verify(o); r.Findings.Counts[verify.TwoPlaces] != 3 || r.Findings.Total != 3 {
			t.Errorf("findings %v", w.listed())
		}
		o.Repair = repair.Do
		if r := w.verify(o); r.Findings.Total != 0 || r.Repairs["stale_copies_removed"] != 3 {
			t.Errorf("findings %v, repairs %v", w.listed(), r.Repairs)
		}
		for _, r := range w.rows[:3] {
			sight, err := w.parts.Target.Read(t.Context(), r.ID)
			w.must(err)
			if newer := otherDay(r); newer.After(r.Timestamp) && sight.Index != w.index(newer) {
				t.Errorf("%s of %s is read from %s", r.ID, newer, sight.Index)
			}
		}
	})
	t.Run("the newer one is the document", func(t *testing.T) {
		w := twice(t, otherDay)
		for _, r := range w.rows[:3] {
			w.remove(w.index(r.Timestamp), r.ID)
			w.put(w.index(otherDay(r)), r.ID, other(w, r).Data, otherDay(r))
		}
		if r := w.verify(w.options(verify.Full)); r.Findings.Total != 0 {
			t.Errorf("findings %v", w.listed())
		}
	})
	t.Run("on one day, the older one is the document", func(t *testing.T) {
		w := twice(t, func(r synth.Row) time.Time { return r.Timestamp.Add(50 * time.Millisecond) })
		if r := w.verify(w.options(verify.IDs)); r.Findings.Counts[verify.Different] != 3 || r.Findings.Total != 3 {
			t.Errorf("findings %v", w.listed())
		}
	})
}

// TestAStandbyHasToReplay as far as the migration read, and to be at it.
func TestAStandbyHasToReplay(t *testing.T) {
	t.Parallel()
	versions := testservers.PostgresVersions()
	primary := testservers.OwnPostgres(t, testbed.PostgresOptions{Version: versions[len(versions)-1]})
	standby := testservers.OwnPostgres(t, testbed.PostgresOptions{Version: versions[len(versions)-1], StandbyOf: primary})
	w := newWorldOf(t, primary.URL(), node.Full, synth.Options{Rows: 60, Mix: synth.Clean()})
	w.switchOver()
	w.exec("create table later ()") // what it replays has a time behind the last pass
	replica, err := pgx.Connect(t.Context(), standby.URL())
	w.must(err)
	defer func() { w.must(replica.Close(t.Context())) }()
	for there := false; !there; {
		w.must(replica.QueryRow(t.Context(), "select to_regclass('later') is not null").Scan(&there))
	}
	w.parts.Source = w.openSource(standby.URL())
	wantSafe(t, w.verify(w.options(verify.Full)))

	_, err = replica.Exec(t.Context(), "select pg_wal_replay_pause()")
	w.must(err)
	wantDoubt(t, w.verify(w.options(verify.Full)), "a standby that does not replay", "primary")
	_, err = replica.Exec(t.Context(), "select pg_wal_replay_resume()")
	w.must(err)
	w.change(func(s *checkpoint.State) {
		s.CopyUntil = time.Now().Add(time.Hour).UnixMicro()
		s.CatchUp.Completed.Until = s.CopyUntil
	})
	wantDoubt(t, w.verify(w.options(verify.Full)), "has not replayed as far as the last pass", "primary")
}
