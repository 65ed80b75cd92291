package verify_test

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// breakPage writes over a block of the table, of whose rows not even the ids
// can be read.
func (w *world) breakPage(server *testbed.Postgres) {
	w.t.Helper()
	var path string
	w.must(w.db.QueryRow(w.t.Context(), "select pg_relation_filepath('nodestore_node')").Scan(&path))
	w.must(w.db.Close(w.t.Context()))
	w.must(server.Restart(w.t.Context())) // what was read is cached
	w.url = server.URL()
	file, err := os.OpenFile(filepath.Join(server.Dir(), "data", path), os.O_WRONLY, 0)
	w.must(err)
	_, err = file.WriteAt(bytes.Repeat([]byte{0xff}, 8192), 8192)
	w.must(err)
	w.must(file.Close())
}

// TestBrokenPages has a page break before the migration, which lists its rows,
// or after it, which verify finds. No document is called one too many.
func TestBrokenPages(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		t.Run(map[bool]string{true: "before", false: "after"}[before], func(t *testing.T) {
			t.Parallel()
			server := testservers.OwnPostgres(t, testbed.PostgresOptions{Settings: map[string]string{"autovacuum": "off"}})
			w := newWorldOf(t, server.URL(), node.Full, synth.Options{Rows: 1000, Mix: synth.Clean()}, func(w *world) {
				if before {
					w.breakPage(server)
				}
			})
			if !before {
				w.breakPage(server)
				w.parts.Source = w.openSource(w.url)
			}
			for _, level := range []verify.Level{verify.Counts, verify.IDs, verify.Sample, verify.Full} {
				r := w.verify(w.options(level))
				if r.Verdict.SafeToDrop || r.Rejected.Total == 0 == before {
					t.Errorf("%s: %d rejected, verdict %+v", level, r.Rejected.Total, r.Verdict)
				}
				if level == verify.Counts {
					continue
				}
				found := r.Findings.Counts[verify.Uncompared]
				if found != r.Findings.Total || found == 0 != before || !strings.Contains(strings.Join(r.Verdict.Because, "\n"), "cannot be counted whole") {
					t.Errorf("%s: %v, verdict %+v", level, w.listed(), r.Verdict)
				}
			}
		})
	}
}

// TestStretchesThatAreCutOff has a line that ends whenever much came over it:
// what does not come through as a whole does in parts.
func TestStretchesThatAreCutOff(t *testing.T) {
	w := newWorld(t, 400, synth.Clean())
	address, err := url.Parse(w.url)
	w.must(err)
	proxy := faulty.NewTCPProxy(t, address.Host, func(int) faulty.Line { return faulty.Line{CutAfter: 400_000} })
	address.Host = proxy.Addr()
	w.parts.Source = w.openSource(address.String())
	r := w.verify(w.options(verify.Full))
	if r.Findings.Total != 0 || r.Total.All.Nodes != 400 || r.Total.All.Bytes < 2*days*400_000 {
		t.Errorf("%d nodes, %d bytes, findings %v", r.Total.All.Nodes, r.Total.All.Bytes, w.listed())
	}
}
