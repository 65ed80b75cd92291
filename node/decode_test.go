package node_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// pythonCase is one payload and what CPython makes of it: its inner bytes, or
// the module that raises, "base64" or "zlib". testdata/python.py wrote them.
type pythonCase struct {
	Data  []byte `json:"data"`
	Inner []byte `json:"inner"`
	Error string `json:"error"`
}

func pythonCases(t testing.TB) []pythonCase {
	t.Helper()
	text, err := os.ReadFile("testdata/python.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []pythonCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 1000 {
		t.Fatalf("%d cases, want 1000 and more", len(cases))
	}
	return cases
}

func TestDecodeAsPython(t *testing.T) {
	t.Parallel()
	var decoder node.Decoder
	prefix := []byte("kept")
	for _, c := range pythonCases(t) {
		got, err := decoder.Decode(prefix, c.Data)
		if c.Error != "" {
			if err == nil || !strings.Contains(err.Error(), c.Error) {
				t.Errorf("%q: error %v, Python raises in %s", c.Data, err, c.Error)
			}
			if string(got) != "kept" {
				t.Errorf("%q: dst is %q after an error", c.Data, got)
			}
			continue
		}
		if err != nil || string(got) != "kept"+string(c.Inner) {
			t.Errorf("%q: %q, %v, Python has %q", c.Data, got, err, c.Inner)
		}
	}
}
