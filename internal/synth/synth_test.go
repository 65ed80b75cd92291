package synth

import (
	"bytes"
	"encoding/json"
	"iter"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// options gives rows over ten days.
func options(rows int) Options {
	from := time.Date(2025, 8, 20, 0, 0, 0, 0, time.UTC)
	return Options{Seed: 7, Rows: rows, From: from, Until: from.AddDate(0, 0, 10)}
}

func TestSameOptionsMakeSameRows(t *testing.T) {
	t.Parallel()
	for _, distinct := range []int{0, 5} {
		o := options(60)
		o.Distinct = distinct
		first, again := slices.Collect(Rows(o)), slices.Collect(Rows(o))
		if !slices.EqualFunc(first, again, equal) {
			t.Errorf("distinct %d: the same options made other rows", distinct)
		}
		o.Seed++
		if slices.ContainsFunc(slices.Collect(Rows(o)), func(r Row) bool { return r.ID == first[0].ID || r.Data == first[0].Data }) {
			t.Errorf("distinct %d: another seed made the same row", distinct)
		}
	}
}

func equal(a, b Row) bool {
	return a.ID == b.ID && a.Data == b.Data && a.Timestamp.Equal(b.Timestamp) && a.Kind == b.Kind && bytes.Equal(a.Inner, b.Inner)
}

func TestReaderGetsInner(t *testing.T) {
	t.Parallel()
	seen := make(map[Kind]int)
	o := options(1500)
	o.Distinct = 8
	for row := range Rows(o) {
		seen[row.Kind]++
		inner, err := node.Decode(nil, []byte(row.Data))
		switch {
		case row.Kind.Readable() != (row.Inner != nil):
			t.Fatalf("%s %s: %d inner bytes", row.Kind, row.ID, len(row.Inner))
		case row.Kind.Readable() && (err != nil || !bytes.Equal(inner, row.Inner)):
			t.Fatalf("%s %s: the reader gets %d bytes, %v; want %d", row.Kind, row.ID, len(inner), err, len(row.Inner))
		case row.Kind == Pickle && (err != nil || inner[0] != 0x80 && inner[0] != '('):
			t.Fatalf("%s: no pickle, %v", row.ID, err)
		case !row.Kind.Readable() && row.Kind != Pickle && err == nil:
			t.Fatalf("%s %s: readable, should not be", row.Kind, row.ID)
		}
	}
	for kind := range kindCount {
		if seen[kind] == 0 {
			t.Errorf("no row of kind %s", kind)
		}
	}
}

func TestCheckerSeesWhatWasMade(t *testing.T) {
	t.Parallel()
	reasons := map[Kind]node.Reason{
		Pickle: node.Pickle, Empty: node.Empty, CorruptBase64: node.CorruptBase64, CorruptZlib: node.CorruptZlib,
	}
	checker := node.NewChecker(node.Full)
	o := options(1000)
	o.Distinct = 8
	for row := range Rows(o) {
		_, verdict := checker.Append(nil, []byte(row.Data))
		recoded := row.Kind == Junk || row.Kind == Wrapped
		if verdict.Reason != reasons[row.Kind] || verdict.Recoded != recoded {
			t.Fatalf("%s %s: verdict %+v", row.Kind, row.ID, verdict)
		}
	}
}

func TestInnerIsJSONLines(t *testing.T) {
	t.Parallel()
	lenient := 0
	o := options(1000)
	o.Distinct = 16
	for row := range Rows(o) {
		if row.Inner == nil {
			continue
		}
		lines := bytes.Split(row.Inner, []byte("\n"))
		if row.Kind == WithUnprocessed {
			if len(lines) != 3 || string(lines[1]) != "unprocessed" {
				t.Fatalf("%s: %d lines", row.ID, len(lines))
			}
			lines = slices.Delete(lines, 1, 2)
		} else if len(lines) != 1 {
			t.Fatalf("%s %s: %d lines", row.Kind, row.ID, len(lines))
		}
		for _, line := range lines {
			strict := bytes.ReplaceAll(bytes.ReplaceAll(line, []byte("NaN"), []byte("0")), []byte("Infinity"), []byte("0"))
			if !json.Valid(strict) {
				t.Fatalf("%s %s: a line is not JSON", row.Kind, row.ID)
			}
			if len(strict) < len(line) {
				lenient++
			}
		}
	}
	if lenient == 0 {
		t.Error("no line has NaN or Infinity")
	}
}

func TestSizesAreThoseOfProduction(t *testing.T) {
	t.Parallel()
	for name, mix := range map[string]Mix{"everything": Everything(), "clean": Clean()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(30_000)
			o.Mix, o.Distinct = mix, 60
			checkSizes(t, o)
		})
	}
}

func checkSizes(t *testing.T, o Options) {
	var data, inner int
	var over6k, over20k, overDocValues, over1M float64
	for row := range Rows(o) {
		n := len(row.Data)
		over6k += above(n, 6_000)
		over20k += above(n, 20_000)
		overDocValues += above(n, 32_766)
		over1M += above(n, 1_000_000)
		if row.Inner != nil {
			data, inner = data+n, inner+len(row.Inner)
		}
	}
	rows := float64(o.Rows)
	within(t, "share over 6 kB", over6k/rows, 0.46, 0.54)
	within(t, "share over 20 kB", over20k/rows, 0.08, 0.12)
	within(t, "share over 32,766 bytes", overDocValues/rows, 0.01, 0.02)
	within(t, "rows over 1 MB", over1M, 2, 20)
	within(t, "inner bytes per byte of zlib", float64(inner)/float64(data)*4/3, 3, 5)
	within(t, "mean size", float64(data)/rows, 9_000, 10_500)
}

func TestHugeRowsOfEveryShape(t *testing.T) {
	t.Parallel()
	p := newPayloads(1, 0)
	for _, shape := range []Kind{ErrorEvent, Transaction, Native, Occurrence, WithUnprocessed} {
		if n := len(p.get(shape, 0, hugeRank).data); n < 1_000_000 || n > 3_000_000 {
			t.Errorf("%s: %d bytes, want 1 to 3 MB", shape, n)
		}
	}
}

func above(n, limit int) float64 {
	if n > limit {
		return 1
	}
	return 0
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %.4g, want %.4g to %.4g", what, got, low, high)
	}
}

func TestIDsAreUniqueAndFit(t *testing.T) {
	t.Parallel()
	forms := map[Kind]*regexp.Regexp{
		Occurrence: regexp.MustCompile(`^i-o:[0-9a-f]{32}$`),
		OldID:      regexp.MustCompile(`^[A-Za-z0-9+/]{22}==$`),
	}
	plain := regexp.MustCompile(`^[0-9a-f]{32}$`)
	o := options(20_000)
	o.Distinct = 4
	seen := make(map[string]bool)
	for row := range Rows(o) {
		form := forms[row.Kind]
		if form == nil {
			form = plain
		}
		if !form.MatchString(row.ID) || seen[row.ID] {
			t.Fatalf("%s %q: a wrong id, or one twice", row.Kind, row.ID)
		}
		if row.Kind == OldID && !(strings.Contains(row.ID, "/") && strings.Contains(row.ID, "+")) {
			t.Fatalf("%q: no slash or no plus", row.ID)
		}
		seen[row.ID] = true
	}
}

func TestTimestampsFillTheRangeInOrder(t *testing.T) {
	t.Parallel()
	o := options(20_000)
	o.Distinct = 4
	perDay := make(map[node.Day]int)
	edges := make(map[time.Duration]int)
	previous := o.From
	for row := range Rows(o) {
		at := row.Timestamp
		if at.Before(o.From) || !at.Before(o.Until) || at.Nanosecond()%1000 != 0 || at.Location() != time.UTC {
			t.Fatalf("%s: timestamp %s", row.ID, at)
		}
		perDay[node.DayOf(at.UnixMicro())]++
		if row.Kind == Midnight {
			edges[at.Sub(at.Truncate(24*time.Hour))]++
			continue
		}
		if at.Before(previous.Add(-4 * time.Second)) {
			t.Fatalf("%s: %s comes after %s", row.ID, at, previous)
		}
		previous = at
	}
	if len(perDay) != 10 {
		t.Errorf("rows on %d days, want 10", len(perDay))
	}
	first, last := edges[0], edges[24*time.Hour-time.Microsecond]
	if first == 0 || last == 0 || len(edges) != 2 {
		t.Errorf("rows of kind midnight: %v", edges)
	}
}

func TestRangeWithoutMidnight(t *testing.T) {
	t.Parallel()
	o := options(50)
	o.From, o.Until = o.From.Add(time.Hour), o.From.Add(2*time.Hour)
	o.Mix, o.Distinct = Mix{Midnight: 1}, 1
	for row := range Rows(o) {
		if row.Timestamp.Before(o.From) || !row.Timestamp.Before(o.Until) {
			t.Fatalf("timestamp %s outside the range", row.Timestamp)
		}
	}
}

// TestMemoryDoesNotGrowWithRows lets sixteen times more rows than payloads go by.
func TestMemoryDoesNotGrowWithRows(t *testing.T) {
	o := options(64_000)
	o.Mix, o.Distinct = Clean(), 8
	i := 0
	var early, late runtime.MemStats
	for range Rows(o) {
		switch i++; i {
		case o.Rows / 16:
			runtime.GC()
			runtime.ReadMemStats(&early)
		case o.Rows:
			runtime.GC()
			runtime.ReadMemStats(&late)
		}
	}
	if growth := int64(late.HeapAlloc) - int64(early.HeapAlloc); growth > 40<<20 {
		t.Errorf("the heap grew by %d MB", growth>>20)
	}
}

// BenchmarkRows measures after the shared payloads have been made.
func BenchmarkRows(b *testing.B) {
	for name, distinct := range map[string]int{"own": 0, "shared": 128} {
		b.Run(name, func(b *testing.B) {
			o := options(1 << 40)
			o.Mix, o.Distinct = Clean(), distinct
			next, stop := iter.Pull(Rows(o))
			defer stop()
			for range 100 * distinct {
				next()
			}
			total := 0
			for b.Loop() {
				row, _ := next()
				total += len(row.Data)
			}
			b.ReportMetric(float64(total)/1e6/b.Elapsed().Seconds(), "MB/s")
		})
	}
}
