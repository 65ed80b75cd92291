package cli

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// A resumed run has half of everything behind it. Its time left is about the
// other half, and is told once it means something.
func TestTimeLeftIsToldOnceItMeansSomething(t *testing.T) {
	t.Parallel()
	const gigabyte = 1_000_000_000
	steps := []struct {
		seconds int
		sent    int64
		want    string
	}{
		{0, 0, "50.00 GB of ~100.00 GB, 5,000,000 nodes, 0.0 kB/s"},
		{5, gigabyte / 2, "50.50 GB of ~100.00 GB, 5,000,000 nodes, 100.0 MB/s"},
		{9, 9 * gigabyte / 10, "50.90 GB of ~100.00 GB, 5,000,000 nodes, 100.0 MB/s"},
		{10, gigabyte, "51.00 GB of ~100.00 GB, 5,000,000 nodes, 100.0 MB/s, 8m left"},
		{400, 40 * gigabyte, "90.00 GB of ~100.00 GB, 5,000,000 nodes, 100.0 MB/s, 1m left"},
	}
	var out strings.Builder
	d := &display{log: slog.New(slog.NewJSONHandler(&out, nil))}
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range steps {
		out.Reset()
		d.progress(begun.Add(time.Duration(step.seconds)*time.Second), migrate.Progress{
			PlannedBytes: 100 * gigabyte, PlannedNodes: 10_000_000,
			DoneBytes: 50*gigabyte + step.sent, DoneNodes: 5_000_000, SentBytes: step.sent,
		})
		var line struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg != step.want || line.Level != "INFO" {
			t.Errorf("after %ds: %q, want %q", step.seconds, out.String(), step.want)
		}
	}
}

// The widest text of a migration of this size in the field leaves room for a
// bar in 80 columns.
func TestProgressFitsATerminal(t *testing.T) {
	t.Parallel()
	p := migrate.Progress{PlannedBytes: 1_200_000_000_000, DoneBytes: 999_900_000_000, DoneNodes: 181_000_000}
	if text := progressText(p, 98_500_000, 99*time.Hour); len(text) > 66 {
		t.Errorf("%d columns: %s", len(text), text)
	}
	compared := verify.Progress{PlannedNodes: 362_000_000, Nodes: 181_000_000, Bytes: 999_900_000_000}
	if text := comparedText(compared, 98_500, 99*time.Hour); len(text) > 66 {
		t.Errorf("%d columns: %s", len(text), text)
	}
}

func TestSummaryIsAligned(t *testing.T) {
	t.Parallel()
	r := result{Summary: migrate.Summary{Read: 999_999_999_999, Bytes: 1_200_000_000_000, Days: 91, Sealed: 90, Borrowed: 1, Seconds: 45296.7, RejectedFile: "a.rejected.jsonl"}}
	r.Fates[0], r.Fates[6] = 999_999_999_000, 999
	r.Reasons = map[node.Reason]int64{node.Pickle: 990, node.CorruptZlib: 9}
	r.Run.Nodes, r.Run.Bytes = 12, 3_400
	const want = `read              999,999,999,999 nodes, 1.20 TB, of 91 days (90 sealed)
  stored          999,999,999,000
  already there                 0
  superseded                    0
  moved                         0
  vanished                      0
  out of retention              0
  rejected                    999  (990 pickle, 9 corrupt zlib)
  lost                          0
this run sent                  12 nodes, 3.4 kB in 12h34m57s
Rejected nodes are listed in a.rejected.jsonl.
Not sealed: 1 day, incomplete or so recent that Sentry may still write to it; a later run of migrate seals it.
Settings for loading still in force on 1 index: run again to resume, or with --restore-settings only to restore them.
`
	if got := r.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
