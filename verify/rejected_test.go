package verify

import (
	"os"
	"path/filepath"
	"testing"
)

// A view can have many rows without an id.
func TestRejectedRowsWithoutAnIDAreToldApart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejected.jsonl")
	list := `{"id":"","timestamp":"1970-01-01T00:00:00.000001Z","reason":"unusable_id"}
{"id":"","timestamp":"1970-01-01T00:00:00.000002Z","reason":"unusable_id"}
`
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	rejected, err := readRejections(path, int64(len(list)))
	if err != nil {
		t.Fatal(err)
	}
	for micros, want := range map[int64]bool{1: true, 2: true, 3: false} {
		if rejected.has(nil, micros) != want {
			t.Errorf("of %d µs: %v", micros, !want)
		}
	}
	if len(rejected) != 2 {
		t.Errorf("%v", rejected)
	}
}
