package verify_test

import (
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// TestSuspectsAreLookedAtAgain changes either side between the first look and
// the second, as a live Sentry would.
func TestSuspectsAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	const i = 30
	gone := func(w *world) { w.remove(w.index(w.rows[i].Timestamp), w.rows[i].ID) }
	right := func(w *world) {
		w.put(w.index(w.rows[i].Timestamp), w.rows[i].ID, w.rows[i].Data, w.rows[i].Timestamp)
	}
	tests := []struct {
		name              string
		before, meanwhile func(w *world)
		vanished, pending int64
		findings          int64
	}{
		{name: "deleted meanwhile", before: gone, meanwhile: func(w *world) {
			w.exec("delete from nodestore_node where id = $1", w.rows[i].ID)
		}, vanished: 1},
		{name: "visible meanwhile", before: gone, meanwhile: right},
		{name: "rewritten meanwhile at the source", before: gone, meanwhile: func(w *world) {
			w.exec(`update nodestore_node set "timestamp" = now() where id = $1`, w.rows[i].ID)
		}, pending: 1},
		{name: "rewritten meanwhile at the target", before: func(w *world) {
			w.put(w.index(w.rows[i].Timestamp), w.rows[i].ID, junk, w.rows[i].Timestamp)
		}, meanwhile: right},
		{name: "payload deleted meanwhile", before: func(w *world) {
			w.put(w.index(w.rows[i].Timestamp), w.rows[i].ID, junk, w.rows[i].Timestamp)
		}, meanwhile: func(w *world) {
			w.exec("delete from nodestore_node where id = $1", w.rows[i].ID)
		}, vanished: 1},
		{name: "still missing", before: gone, meanwhile: func(*world) {}, findings: 1},
		{name: "rewritten after the last pass", before: func(w *world) {
			w.exec(`update nodestore_node set "timestamp" = now() where id = $1`, w.rows[i].ID)
		}, meanwhile: func(*world) {}, pending: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 150, synth.Clean())
			test.before(w)
			o := w.options(verify.Full)
			var once sync.Once
			looked := false
			o.Notify = func(e verify.Event) {
				if e.Kind == verify.LookingAgain {
					once.Do(func() { looked = true; test.meanwhile(w) })
				}
			}
			r := w.verify(o)
			if !looked || r.Findings.Total != test.findings || r.Total.Vanished != test.vanished || r.Total.Pending != test.pending {
				t.Errorf("looked again: %v, vanished %d, pending %d, findings %v", looked, r.Total.Vanished, r.Total.Pending, w.listed())
			}
			if test.pending > 0 && r.Verdict.SafeToDrop {
				t.Error("safe to drop what is not copied yet")
			}
		})
	}
}

// TestSentrysOwnDocuments are not findings where Sentry writes, but a second
// copy of a node is, there as well.
func TestSentrysOwnDocuments(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	today := time.Now().UTC()
	w.call("PUT", "/"+w.index(today), "")
	w.put(w.index(today), "0123456789abcdef0123456789abcdef", w.rows[0].Data, today)
	if r := w.verify(w.options(verify.Sample)); r.Findings.Total != 0 {
		t.Errorf("findings: %v", w.listed())
	}
	w.put(w.index(today), w.rows[5].ID, w.rows[5].Data, today)
	if r := w.verify(w.options(verify.IDs)); r.Findings.Counts[verify.TwoPlaces] != 1 || r.Findings.Total != 1 {
		t.Errorf("findings: %v", w.listed())
	}
}

func TestNothingIsSafeWhileRowsCome(t *testing.T) {
	w := newWorld(t, 60, synth.Clean())
	w.switchOver()
	if r := w.verify(w.options(verify.Full)); !r.Verdict.SafeToDrop {
		t.Fatalf("verdict %+v", r.Verdict)
	}
	w.exec(`insert into nodestore_node values ('new', $1, now())`, w.rows[0].Data)
	if r := w.verify(w.options(verify.Full)); r.Verdict.SafeToDrop || r.Newer != 1 || r.Findings.Total != 0 {
		t.Errorf("fresh %d, verdict %+v", r.Newer, r.Verdict)
	}
}

// TestRowsThatCannotBeRead reads through a view that fails for one row as a
// damaged table does.
func TestRowsThatCannotBeRead(t *testing.T) {
	w := newWorld(t, 150, synth.Clean())
	broken := w.rows[40]
	w.exec(`create function damaged(id text, data text) returns text language plpgsql stable as $$
		begin
			if id = '` + broken.ID + `' then raise exception 'missing chunk number 0' using errcode = 'XX001'; end if;
			return data;
		end $$`)
	w.exec(`create view damaged_node as select id, damaged(id, data) as data, "timestamp" from nodestore_node`)
	through, err := source.Open(t.Context(), source.Config{ConnString: w.url, Table: "damaged_node", Connections: 3})
	w.must(err)
	t.Cleanup(through.Close)
	w.parts.Source = through
	for _, level := range []verify.Level{verify.Sample, verify.Full} {
		r := w.verify(w.options(level))
		if r.Findings.Counts[verify.Uncompared] != 1 || r.Findings.Total != 1 || w.listed()[0].ID != broken.ID {
			t.Errorf("%s: findings %v", level, w.listed())
		}
		if level == verify.Sample && r.Bound.Defects+r.Total.Certain.Defects != 1 {
			t.Errorf("what cannot be compared is not a defect of the bound: %+v", r.Bound)
		}
	}
}
