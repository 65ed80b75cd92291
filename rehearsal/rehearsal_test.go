package rehearsal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/rehearsal"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

func TestMain(m *testing.M) { os.Exit(testservers.RunWithoutLeaks(m)) }

// world is a table that was never copied, and a cluster.
type world struct {
	t      *testing.T
	server string // of OpenSearch
	db     string // of PostgreSQL
	filled synth.Summary
	config rehearsal.Config

	mu   sync.Mutex
	said []string
}

// newWorld has rows over so many days. Its tests are not parallel: each wants no stage
// to be left.
func newWorld(t *testing.T, o synth.Options, days int) *world {
	t.Helper()
	versions := testservers.PostgresVersions()
	w := &world{t: t, server: testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])}
	w.db = testservers.Postgres(t, versions[len(versions)-1])
	db, err := pgx.Connect(t.Context(), w.db)
	w.must(err)
	defer db.Close(t.Context())
	w.must(synth.CreateTable(t.Context(), db, "nodestore_node"))
	o.Seed, o.Distinct, o.From = 5, 40, time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	o.Until = o.From.AddDate(0, 0, days)
	w.filled, err = synth.Fill(t.Context(), db, "nodestore_node", o)
	w.must(err)
	_, err = db.Exec(t.Context(), "analyze nodestore_node")
	w.must(err)
	w.config = rehearsal.Config{
		Share: 0.25, Seed: 1,
		Options: migrate.Options{Readers: 2, Senders: 2, BatchBytes: 64 << 10, Depth: node.Full, Notify: w.hear},
		Watch:   func(*migrate.Migration) func() { return func() {} },
	}
	w.read()
	w.reach(w.server)
	return w
}

// read opens the source, which looks at its statistics then.
func (w *world) read() {
	w.t.Helper()
	from, err := source.Open(w.t.Context(), source.Config{ConnString: w.db, Table: "nodestore_node", Connections: 3})
	w.must(err)
	w.t.Cleanup(from.Close)
	w.config.Source, w.config.Origin = from, from.Origin("")
}

func (w *world) exec(sql string) {
	w.t.Helper()
	db, err := pgx.Connect(w.t.Context(), w.db)
	w.must(err)
	defer db.Close(w.t.Context())
	_, err = db.Exec(w.t.Context(), sql)
	w.must(err)
}

// count says how many rows there are, and how large.
func (w *world) count(where string) (rows, bytes int64) {
	w.t.Helper()
	db, err := pgx.Connect(w.t.Context(), w.db)
	w.must(err)
	defer db.Close(w.t.Context())
	w.must(db.QueryRow(w.t.Context(), "select count(*), sum(octet_length(data)) from nodestore_node where "+where).Scan(&rows, &bytes))
	return rows, bytes
}

func (w *world) hear(e migrate.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, fmt.Sprintf("%s %s %s", e.Kind, e.Index, e.Cause))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// reach opens the target at an address.
func (w *world) reach(address string) {
	w.t.Helper()
	w.config.To = target.Config{
		Config:  cluster.Config{URLs: []string{address}, Patience: 20 * time.Second},
		Backend: target.Backend{Alias: "real", Template: "real", Index: "real-{date}", Pattern: "real-*", Codec: "best_compression", Shards: 1, Replicas: 1},
	}
	opened, err := target.Open(w.t.Context(), w.config.To)
	w.must(err)
	w.t.Cleanup(opened.Close)
	w.config.Target = opened
}

func (w *world) call(method, path, body string) string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), method, w.server+path, strings.NewReader(body))
	w.must(err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	w.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	w.must(err)
	return string(text)
}

// wantNothing wants no trace on the cluster: no index and no template, but some.
func (w *world) wantNothing(but ...string) {
	w.t.Helper()
	indices := w.call(http.MethodGet, "/_cat/indices/nodestore-migrate-*,real*?h=index&expand_wildcards=all", "")
	var templates struct {
		List []struct{ Name string } `json:"index_templates"`
	}
	w.must(json.Unmarshal([]byte(w.call(http.MethodGet, "/_index_template", "")), &templates))
	left := strings.Fields(indices)
	for _, one := range templates.List {
		if strings.Contains(one.Name, "rehearsal") || one.Name == "real" {
			left = append(left, one.Name)
		}
	}
	if strings.Join(left, " ") != strings.Join(but, " ") {
		w.t.Errorf("left on the cluster: %q, want %q", left, but)
	}
}

// TestRehearsal has what it says hold for the whole: of all rows a known number is
// rejected, and the draw is as the seed says.
func TestRehearsal(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 4000, Mix: synth.Everything()}, 8)
	r, err := rehearsal.Run(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.wantNothing()
	if r.Verified.Findings > 0 || r.Sample.Rows < 400 || r.Sample.Rows > 2000 || r.Total.Rows < 3500 || r.Total.Rows > 4500 || r.Sample.Days < 2 {
		t.Errorf("%+v", r)
	}
	var rejected, seen int64
	var estimate, low, high float64
	for kind, count := range w.filled {
		if !synth.Kind(kind).Readable() {
			rejected += count.Rows
		}
	}
	for reason, f := range r.Rejected {
		seen += f.Seen
		estimate += f.Estimate
		if f.Low == nil || f.High == nil || *f.Low > f.Estimate || *f.High < f.Estimate || f.Seen == 0 {
			t.Errorf("%s: %+v", reason, f)
			continue
		}
		low, high = low+*f.Low, high+*f.High
	}
	if r.Verified.Nodes+seen != r.Sample.Rows {
		t.Errorf("%d verified and %d rejected, of %d", r.Verified.Nodes, seen, r.Sample.Rows)
	}
	if float64(rejected) < low || float64(rejected) > high || seen == 0 {
		t.Errorf("%d of all rows are rejected, foreseen are %.0f (%.0f to %.0f)", rejected, estimate, low, high)
	}
	if per := r.CompactBytes.Estimate / float64(r.Total.Bytes); per < 0.4 || per > 1.2 || r.LoadedBytes.Estimate <= r.CompactBytes.Estimate || r.CompactBytes.Low == nil {
		t.Errorf("disk: compact %+v, loaded %+v, of %d", r.CompactBytes, r.LoadedBytes, r.Total.Bytes)
	}
	if r.Seconds.Estimate <= 0 || r.BytesPerSecond.Estimate <= 0 {
		t.Errorf("speed %+v, time %+v", r.BytesPerSecond, r.Seconds)
	}
}

// TestRehearsalIsCutShort ends it at a request, and wants nothing to be left.
func TestRehearsalIsCutShort(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 300, Mix: synth.Clean()}, 2)
	for _, at := range []string{"/_bulk", "/_forcemerge", "/_search"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			backend, err := url.Parse(w.server)
			w.must(err)
			transport := &http.Transport{}
			forward := httputil.NewSingleHostReverseProxy(backend)
			forward.Transport, forward.ErrorLog = transport, log.New(io.Discard, "", 0)
			proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, at) {
					cancel()
				}
				forward.ServeHTTP(out, r)
			}))
			defer transport.CloseIdleConnections()
			defer proxy.Close()
			w.reach(proxy.URL)
			if _, err := rehearsal.Run(ctx, w.config); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			w.config.Target.Close()
			w.wantNothing()
		})
	}
}

// TestWhatAKilledRehearsalLeft removes an old stage, and nothing that only looks like one.
func TestWhatAKilledRehearsalLeft(t *testing.T) {
	w := newWorld(t, synth.Options{Rows: 100, Mix: synth.Clean()}, 1)
	const old, foreign = "nodestore-migrate-rehearsal-20250101t000000-aaaaaa", "nodestore-migrate-rehearsal-20250102t000000-bbbbbb"
	young := "nodestore-migrate-rehearsal-" + time.Now().UTC().Format("20060102t150405") + "-cccccc"
	for _, name := range []string{old, young} {
		w.call(http.MethodPut, "/_index_template/"+name, `{"index_patterns": ["`+name+`-*"], "priority": 900, "_meta": {"made_by": "nodestore-migrate-rehearsal"},
			"template": {"aliases": {"`+name+`": {}}}}`)
	}
	for _, index := range []string{old + "-2025-03-01", old + "-notes", foreign + "-2025-03-01", young + "-2025-03-01"} {
		w.call(http.MethodPut, "/"+index, `{"settings": {"number_of_replicas": 0}}`)
	}
	t.Cleanup(func() {
		for _, path := range []string{old + "-notes", foreign + "-2025-03-01", young + "-2025-03-01", "_index_template/" + young} {
			w.call(http.MethodDelete, "/"+path, "")
		}
	})
	if _, err := rehearsal.Run(t.Context(), w.config); err != nil {
		t.Fatal(err)
	}
	left := strings.Fields(w.call(http.MethodGet, "/_cat/indices/nodestore-migrate-rehearsal-*?h=index&s=index", ""))
	if want := []string{old + "-notes", foreign + "-2025-03-01", young + "-2025-03-01"}; strings.Join(left, " ") != strings.Join(want, " ") {
		t.Errorf("left are %q, want %q", left, want)
	}
	if text := w.call(http.MethodGet, "/_index_template/nodestore-migrate-rehearsal-*", ""); strings.Contains(text, old) || !strings.Contains(text, young) {
		t.Errorf("templates: %s", text)
	}
	if said := strings.Join(w.said, "\n"); !strings.Contains(said, young) {
		t.Errorf("it does not tell of the young one:\n%s", said)
	}
}
