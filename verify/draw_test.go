package verify_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
)

// tiny adds rows that have few bytes, spread over the days of the world.
func tiny(rows int) func(*world) {
	return func(w *world) {
		var stream bytes.Buffer
		z := zlib.NewWriter(&stream)
		_, err := z.Write([]byte("{\"event_id\":\"1\"}\n"))
		w.must(errors.Join(err, z.Close()))
		data := base64.StdEncoding.EncodeToString(stream.Bytes())
		for i := range rows {
			w.rows = append(w.rows, synth.Row{
				ID: fmt.Sprintf("%032x", i), Data: data, Timestamp: start.Add(time.Duration(i) * days * 24 * time.Hour / time.Duration(rows)),
			})
		}
		_, err = w.db.CopyFrom(w.t.Context(), pgx.Identifier{"nodestore_node"}, []string{"id", "data", "timestamp"},
			pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
				r := w.rows[len(w.rows)-rows+i]
				return []any{r.ID, r.Data, r.Timestamp}, nil
			}))
		w.must(err)
	}
}

// TestASampleThatFoundDefectsIsUsedUp mends what a sample found, by hand and by a
// repair: the nodes that were not drawn are as broken as before.
func TestASampleThatFoundDefectsIsUsedUp(t *testing.T) {
	w := newWorldChecked(t, node.Full, synth.Options{Rows: 3, Mix: synth.Clean()}, tiny(7000))
	w.switchOver()
	w.putAll(w.rows[:4000], junk)
	o := w.options(verify.Sample)
	o.MaxDefects = 0.05
	byID := make(map[string]synth.Row)
	for _, r := range w.rows {
		byID[r.ID] = r
	}
	var before int64
	for round := range 3 {
		r := w.verify(o)
		if r.Findings.Total == 0 || r.Verdict.SafeToDrop || r.Earlier != before {
			t.Fatalf("round %d: %d findings, %d defects before, want %d; %+v", round, r.Findings.Total, r.Earlier, before, r.Verdict)
		}
		before += r.Total.Sample.Defects + r.Total.Certain.Defects
		var found []synth.Row
		for _, f := range w.listed() {
			found = append(found, byID[f.ID])
		}
		w.putAll(found, "")
	}
	w.putAll(w.rows[:4000], "")
	r := w.verify(o)
	wantSafe(t, r)
	if want := fmt.Sprintf("(samples before this one found %s defects)", amount.Count(before)); !strings.Contains(r.Verdict.Sentence, want) {
		t.Errorf("%s: want %s", r.Verdict.Sentence, want)
	}
	// What a run repairs, it found by its own sample.
	stale := w.rows[10]
	w.put(w.index(stale.Timestamp), stale.ID, stale.Data, stale.Timestamp.Add(-time.Second))
	o.Repair = repair.Do
	wantDoubt(t, w.verify(o), "this sample was used to repair", "draws another sample")
	o.Repair = nil
	wantSafe(t, w.verify(o))
}
