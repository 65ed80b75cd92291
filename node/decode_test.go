package node_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// payload is a golden vector: what a row's column has, and what Sentry gets from
// it, or the reason why it is not copied. testdata/README.md says who made them.
type payload struct {
	Text   string      `json:"text"`
	Bytea  []byte      `json:"bytea"` // not null: the column is bytea
	Reason node.Reason `json:"reason"`
	SHA256 string      `json:"sha256"` // of the inner bytes
}

func (p payload) row() []byte {
	if p.Bytea != nil {
		return p.Bytea
	}
	return []byte(p.Text)
}

func (p payload) holds(inner []byte) bool {
	sum := sha256.Sum256(inner)
	return hex.EncodeToString(sum[:]) == p.SHA256
}

func payloads(t testing.TB) []payload {
	t.Helper()
	content, err := os.ReadFile("../testdata/payloads.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []payload
	if err := json.Unmarshal(content, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 3000 {
		t.Fatalf("%d vectors, want 3000 and more", len(vectors))
	}
	return vectors
}

func TestDecodeAsPython(t *testing.T) {
	t.Parallel()
	var decoder node.Decoder
	for _, p := range payloads(t) {
		if p.Bytea != nil || p.Text == "" {
			continue // no document is like that
		}
		got, err := decoder.Decode([]byte("kept"), p.row())
		if kind, corrupt := strings.CutPrefix(string(p.Reason), "corrupt_"); corrupt {
			if err == nil || !strings.Contains(err.Error(), kind) || string(got) != "kept" {
				t.Errorf("%q: %q, %v; Python raises in %s", p.Text, got, err, kind)
			}
			continue
		}
		inner := strings.TrimPrefix(string(got), "kept")
		if err != nil || p.Reason == node.Accepted && !p.holds([]byte(inner)) {
			t.Errorf("%q: %q, %v; Python has other bytes", p.Text, got, err)
		}
	}
}
