package verify_test

import (
	"encoding/base64"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
)

// dayOf is a day of a report.
func dayOf(t *testing.T, r *verify.Report, name string) verify.Day {
	t.Helper()
	for _, d := range r.Days {
		if d.Day == name {
			return d
		}
	}
	t.Fatalf("the report has no day %s", name)
	return verify.Day{}
}

// TestDigestsAreCompared changes rows and documents alike, which nothing else tells.
func TestDigestsAreCompared(t *testing.T) {
	w := newWorld(t, 300, synth.Clean())
	w.switchOver()
	row := w.rows[20]
	name := node.DayOf(row.Timestamp.UnixMicro()).String()
	for _, level := range []verify.Level{verify.IDs, verify.Full} {
		r := w.verify(w.options(level))
		for _, d := range r.Days {
			if d.Copied == nil || d.PresentIDs != d.Copied.IDs || level == verify.Full && d.All.Digest != *d.Copied {
				t.Errorf("%s: day %s was copied as %+v, and has ids %s and %+v", level, d.Day, d.Copied, d.PresentIDs, d.All.Digest)
			}
		}
	}
	wantSafe(t, w.verify(w.options(verify.Sample)))

	// The same inner bytes in another text.
	stream, err := base64.StdEncoding.DecodeString(row.Data)
	w.must(err)
	w.put(w.index(row.Timestamp), row.ID, base64.StdEncoding.EncodeToString(append(stream, "behind the stream"...)), row.Timestamp)
	r := w.verify(w.options(verify.Full))
	if d := dayOf(t, r, name); d.All.Digest.Nodes != d.Copied.Nodes || d.All.Digest.IDs != d.Copied.IDs || d.All.Digest.Payloads == d.Copied.Payloads {
		t.Errorf("after a document was changed: %+v, copied as %+v", d.All.Digest, d.Copied)
	}
	wantSafe(t, r)

	// Another id, on both sides.
	w.exec(`update nodestore_node set id = $1 where id = $2`, "another", row.ID)
	w.remove(w.index(row.Timestamp), row.ID)
	w.put(w.index(row.Timestamp), "another", row.Data, row.Timestamp)
	wantDoubt(t, w.verify(w.options(verify.Sample)), "of these days: "+name, "verify --level full")
	wantSafe(t, w.verify(w.options(verify.Full)))
}

// TestRepairEndsADigest has no digest of a day that was repaired.
func TestRepairEndsADigest(t *testing.T) {
	w := newWorld(t, 100, synth.Clean())
	row := w.rows[10]
	w.remove(w.index(row.Timestamp), row.ID)
	o := w.options(verify.Full)
	o.Repair = repair.Do
	if r := w.verify(o); r.Findings.Total > 0 || r.Repairs["nodes_copied_again"] != 1 {
		t.Errorf("findings %+v, repairs %v", r.Findings, r.Repairs)
	}
	name := node.DayOf(row.Timestamp.UnixMicro()).String()
	w.parts.Checkpoint.View(func(s *checkpoint.State) {
		if s.Days[name].Digest != nil {
			t.Errorf("day %s has %+v", name, s.Days[name].Digest)
		}
	})
	if d := dayOf(t, w.verify(w.options(verify.Full)), name); d.Copied != nil || d.All.Digest.Nodes != d.Present {
		t.Errorf("day %+v", d)
	}
}
