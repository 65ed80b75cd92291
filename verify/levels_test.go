package verify_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/report"
)

func levels() []verify.Level {
	return []verify.Level{verify.Counts, verify.IDs, verify.Sample, verify.Full}
}

func TestNothingIsFoundInWhatWasMigrated(t *testing.T) {
	w := newWorld(t, 1500, synth.Everything())
	w.switchOver()
	for _, level := range levels() {
		r := w.verify(w.options(level))
		if r.Findings.Total != 0 || r.Verdict.SafeToDrop {
			t.Errorf("%s: findings %v, verdict %+v", level, w.listed(), r.Verdict)
		}
		path := filepath.Join(w.dir, "report.json")
		w.must(report.Write(r, path))
		content, err := os.ReadFile(path)
		w.must(err)
		checkSchema(t, content)
		if r.Total.Source != 1500 || r.Total.Source-r.Total.Rejected != int64(len(w.rows)) || r.Total.Documents != int64(len(w.rows)) {
			t.Errorf("%s: total %+v, want %d rows", level, r.Total, len(w.rows))
		}
	}
	o := w.options(verify.Sample)
	for reason := range w.verify(o).Rejected.ByReason {
		o.Accept = append(o.Accept, reason)
	}
	if r := w.verify(o); !r.Verdict.SafeToDrop {
		t.Errorf("all rejected nodes are accepted: %+v", r.Verdict)
	}
}

// damage is done to a world, and found as classes by the levels that promise it.
type damage struct {
	name   string
	do     func(w *world) // to w.rows[:...] or besides them
	want   map[verify.Class]int64
	counts bool // the level Counts sees that something is wrong
	ids    bool // so do IDs and Sample, by name
	full   bool // only Full promises it
}

const junk = "bm90IHpsaWI=" // base64 of what is not a zlib stream

func damages() []damage {
	one := func(c verify.Class) map[verify.Class]int64 { return map[verify.Class]int64{c: 1} }
	missing := func(w *world, i int) { w.remove(w.index(w.rows[i].Timestamp), w.rows[i].ID) }
	extra := func(w *world, i int) {
		w.put(w.index(w.rows[i].Timestamp), fmt.Sprintf("extra-%d", i), w.rows[i].Data, w.rows[i].Timestamp)
	}
	// double puts a copy of a node into the index of the day before or after.
	double := func(w *world, i int) {
		r := w.rows[i]
		w.put(w.index(r.Timestamp.Add(neighbour(r.Timestamp))), r.ID, r.Data, r.Timestamp)
	}
	return []damage{
		{name: "missing", do: func(w *world) { missing(w, 10) }, want: one(verify.Missing), counts: true, ids: true},
		{name: "extra", do: func(w *world) { extra(w, 10) }, want: one(verify.Extra), counts: true, ids: true},
		{name: "extra at another time", do: func(w *world) {
			w.put(w.index(w.rows[10].Timestamp), "extra", w.rows[10].Data, w.rows[10].Timestamp.AddDate(-1, 0, 0))
		}, want: one(verify.Extra), counts: true, ids: true},
		{name: "two places", do: func(w *world) { double(w, 10) }, want: one(verify.TwoPlaces), counts: true, ids: true},
		{name: "wrong day", do: func(w *world) { double(w, 10); missing(w, 10) }, want: one(verify.WrongDay), counts: true, ids: true},
		{name: "older version", do: func(w *world) {
			r := w.rows[10]
			w.remove(w.index(r.Timestamp), r.ID)
			w.put(w.index(r.Timestamp), r.ID, w.rows[11].Data, r.Timestamp.Truncate(24*time.Hour))
		}, want: one(verify.Different), ids: true},
		{name: "different", do: func(w *world) {
			r := w.rows[10]
			w.put(w.index(r.Timestamp), r.ID, other(w, r).Data, r.Timestamp)
		}, want: one(verify.Different), full: true},
		{name: "unreadable", do: func(w *world) {
			w.put(w.index(w.rows[10].Timestamp), w.rows[10].ID, junk, w.rows[10].Timestamp)
		}, want: one(verify.Unreadable), full: true},
		{name: "index not behind the alias", do: func(w *world) {
			w.call("POST", "/_aliases", `{"actions":[{"remove":{"index":"`+w.index(start)+`","alias":"`+w.backend.Alias+`"}}]}`)
		}, want: map[verify.Class]int64{verify.Unreadable: -1}, counts: true, ids: true},
		{name: "index gone", do: func(w *world) {
			w.call("DELETE", "/"+w.index(start), "")
		}, want: map[verify.Class]int64{verify.Missing: -1}, counts: true, ids: true},
		{
			name: "one missing, one extra", do: func(w *world) { missing(w, 10); extra(w, 11) },
			want: map[verify.Class]int64{verify.Missing: 1, verify.Extra: 1}, ids: true,
		},
		{name: "one missing, one doubled", do: func(w *world) {
			// The copy goes to where the other is missing.
			double(w, 10)
			day := w.rows[10].Timestamp.Add(neighbour(w.rows[10].Timestamp)).Truncate(24 * time.Hour)
			for i, r := range w.rows[11:] {
				if r.Timestamp.Truncate(24 * time.Hour).Equal(day) {
					missing(w, 11+i)
					return
				}
			}
			w.t.Fatal("no node on the other day")
		}, want: map[verify.Class]int64{verify.Missing: 1, verify.TwoPlaces: 1}, ids: true},
		{name: "exchanged days", do: func(w *world) {
			a, b := w.rows[10], w.rows[len(w.rows)-10]
			for _, r := range []synth.Row{a, b} {
				w.remove(w.index(r.Timestamp), r.ID)
			}
			w.put(w.index(b.Timestamp), a.ID, a.Data, a.Timestamp)
			w.put(w.index(a.Timestamp), b.ID, b.Data, b.Timestamp)
		}, want: map[verify.Class]int64{verify.WrongDay: 2}, ids: true},
		{name: "a copy beside the daily indices", do: func(w *world) {
			w.put(w.backend.Alias+"-restored", w.rows[10].ID, w.rows[10].Data, w.rows[10].Timestamp)
		}, want: one(verify.TwoPlaces), ids: true},
	}
}

// neighbour leads from a time to another day of the world.
func neighbour(at time.Time) time.Duration {
	if at.Before(start.AddDate(0, 0, 1)) {
		return 24 * time.Hour
	}
	return -24 * time.Hour
}

// other is a row with another payload.
func other(w *world, than synth.Row) synth.Row {
	for _, r := range w.rows {
		if string(r.Inner) != string(than.Inner) {
			return r
		}
	}
	w.t.Fatal("all rows have one payload")
	return synth.Row{}
}

func TestDamageIsFoundByTheLevelsThatPromiseIt(t *testing.T) {
	t.Parallel()
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, 300, synth.Clean())
			d.do(w)
			if r := w.verify(w.options(verify.Counts)); (r.Findings.Total > 0) != d.counts {
				t.Errorf("counts: findings %v", w.listed())
			}
			for _, level := range []verify.Level{verify.IDs, verify.Sample, verify.Full} {
				o := w.options(level)
				r := w.verify(o)
				if !d.ids && level != verify.Full {
					continue // found by chance, or not
				}
				got := maps.Clone(r.Findings.Counts)
				for class, n := range d.want {
					if n < 0 && got[class] > 50 {
						got[class] = n
					}
				}
				if !maps.Equal(got, d.want) || r.Verdict.SafeToDrop {
					t.Errorf("%s: %v, want %v; %v", level, got, d.want, w.listed()[:min(5, len(w.listed()))])
				}
			}
		})
	}
}

func TestOtherBase64OfTheSameBytesIsNoDifference(t *testing.T) {
	w := newWorld(t, 200, synth.Clean())
	r := w.rows[20]
	stream, err := base64.StdEncoding.DecodeString(r.Data)
	w.must(err)
	w.put(w.index(r.Timestamp), r.ID, base64.StdEncoding.EncodeToString(append(stream, "behind the stream"...)), r.Timestamp)
	if report := w.verify(w.options(verify.Full)); report.Findings.Total != 0 {
		t.Errorf("findings: %v", w.listed())
	}
}

func TestFullSample(t *testing.T) {
	w := newWorld(t, 600, synth.Clean())
	r := w.rows[10]
	w.put(w.index(r.Timestamp), r.ID, junk, r.Timestamp)
	report := w.verify(w.options(verify.Sample))
	if report.Findings.Counts[verify.Unreadable] != 1 || report.Bound.Method != verify.Complete {
		t.Errorf("findings %v, bound %+v", report.Findings.Counts, report.Bound)
	}
	if got := report.Total.Sample.Nodes + report.Total.Certain.Nodes; got != int64(len(w.rows)) {
		t.Errorf("%d payloads were compared, want %d", got, len(w.rows))
	}
	if report.Total.Sample.AsSentry == 0 {
		t.Error("nothing was read as Sentry reads")
	}
	if !slices.ContainsFunc(w.listed(), func(f verify.Finding) bool { return f.ID == r.ID }) {
		t.Errorf("the file of findings has %v", w.listed())
	}
}

func TestRowsThatNobodyCouldRead(t *testing.T) {
	w := newWorldChecked(t, node.Quick, synth.Options{Rows: 200, Mix: synth.Mix{synth.ErrorEvent: 9, synth.CorruptZlib: 1}})
	w.switchOver()
	o := w.options(verify.Full)
	first := w.verify(o)
	if first.Findings.Total == 0 || first.Findings.Total != first.Findings.Counts[verify.Unreadable] {
		t.Errorf("findings %v: a quick check copies some of these rows", first.Findings.Counts)
	}
	o.Accept = []node.Reason{node.CorruptZlib}
	if r := w.verify(o); r.Findings.Total != 0 || !r.Verdict.SafeToDrop {
		t.Errorf("accepted by name: %+v, %v", r.Verdict, r.Findings.Counts)
	}
}
