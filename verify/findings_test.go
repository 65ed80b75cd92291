package verify

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

// TestFindingsTakeLittleMemory lists many, and reads them all again as a report,
// a resumed run and a repair do.
func TestFindingsTakeLittleMemory(t *testing.T) {
	const n = 400_000
	path := filepath.Join(t.TempDir(), "findings.jsonl")
	f, err := openFindings(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := heapBytes()
	for i := range n {
		if err := f.add("2025-03-01", Finding{Class: Missing, ID: fmt.Sprintf("%032x", i), Day: "2025-03-01", Known: "row of 2025-03-01T01:00:00.700000+00:00, no document"}); err != nil {
			t.Fatal(err)
		}
	}
	size, err := f.sync()
	if err != nil || f.file.Close() != nil {
		t.Fatal(err)
	}
	if f, err = openFindings(path, size, nil); err != nil {
		t.Fatal(err)
	}
	aside, err := f.setAside()
	if err != nil {
		t.Fatal(err)
	}
	seen, most := 0, uint64(0)
	err = aside.each(func(Finding) error {
		if seen++; seen%100_000 == 0 {
			most = max(most, heapBytes())
		}
		return nil
	})
	if err != nil || seen != n || f.total() != n {
		t.Errorf("%d of %d findings, %d counted: %v", seen, n, f.total(), err)
	}
	if most > before+16<<20 {
		t.Errorf("%d findings took %d bytes", n, most-before)
	}
	if err := aside.remove(); err != nil {
		t.Error(err)
	}
	if err := f.file.Close(); err != nil {
		t.Error(err)
	}
}

func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
