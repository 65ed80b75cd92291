package migrate_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// activity is one look at the tool's connections: how far each transaction
// holds back vacuum, and what it runs.
type activity struct {
	PID     int32
	Began   *time.Time // of the transaction
	State   string
	Xmin    *int64 // how many transaction ids it holds back
	Xid     *string
	Query   string
	Current int64 // the newest transaction id, cut to 32 bits
}

// sample looks at the tool's connections until it ends. Each look takes a
// transaction id, as Sentry's writes do.
func (w *world) sample(c *child) (looks [][]activity) {
	w.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-c.ended:
			return looks
		case <-ticker.C:
		}
		rows, err := w.sql.Query(w.t.Context(), `select pid, xact_start, coalesce(state, ''), age(backend_xmin)::bigint, backend_xid::text, query,
				(pg_current_xact_id()::text::bigint & 4294967295)
			from pg_stat_activity where datname = current_database() and application_name = 'nodestore-migrate'`)
		if err != nil {
			w.t.Fatal(err)
		}
		look, err := pgx.CollectRows(rows, pgx.RowToStructByPos[activity])
		if err != nil {
			w.t.Fatal(err)
		}
		looks = append(looks, look)
	}
}

// TestSourceIsOnlyReadInShortTransactions runs as a role that may do nothing
// but read, against a target that is much slower than the source.
func TestSourceIsOnlyReadInShortTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(30, 1, 1))
	for i := range 60 { // what fits into the buffers of a connection would be read at once
		w.insert("nodestore_node", []synth.Row{largeRow(i, 1<<20)})
	}
	role := strings.ReplaceAll(w.prefix, "-", "_")
	w.exec("create role " + role + " login; grant select on nodestore_node to " + role)
	t.Cleanup(func() { w.exec("drop owned by " + role + "; drop role " + role) })
	slow := faulty.NewHTTPProxy(t, hostOf(t, w.target), func(r *http.Request, _ int) faulty.Fault {
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			return faulty.Fault{Delay: 100 * time.Millisecond}
		}
		return faulty.Fault{}
	})
	c := w.start("--target", slow.URL(), "--source", as(t, w.source, role), "--bulk-bytes", "2MiB")
	copies := make(map[string]string) // transaction → its COPY
	first, last := int64(0), int64(0) // what vacuum could remove at the first COPY and at the last
	for _, look := range w.sample(c) {
		for _, a := range look {
			if strings.HasPrefix(a.State, "idle in transaction") || a.Xid != nil {
				t.Errorf("connection %d is %s, with transaction id %v", a.PID, a.State, a.Xid)
			}
			if a.State != "active" || !strings.Contains(a.Query, "copy (select") || a.Began == nil || a.Xmin == nil {
				continue
			}
			if !strings.HasPrefix(a.Query, "set transaction isolation level read committed, read only;") {
				t.Errorf("not read only: %s", a.Query)
			}
			transaction := fmt.Sprint(a.PID, a.Began.UnixMicro())
			if before, ok := copies[transaction]; ok && before != a.Query {
				t.Errorf("two COPYs in one transaction:\n%s\n%s", before, a.Query)
			}
			copies[transaction] = a.Query
			if last = a.Current - *a.Xmin; first == 0 {
				first = last
			}
		}
	}
	c.wants(exitDone)
	w.wantComplete(c.summary())
	// 60 MB are eight slices of four batches; the looks at half of them are
	// enough to know that no transaction spans the copy.
	if len(copies) < 4 || last-first < 20 {
		t.Errorf("%d transactions were seen, and vacuum could advance by %d ids", len(copies), last-first)
	}
}

// largeRow is a readable row of about that many bytes, which take no time to
// make or to compress.
func largeRow(i, size int) synth.Row {
	inner := []byte(`{"event_id":"` + strings.Repeat("large ", size/8) + `"}` + "\n")
	var stream bytes.Buffer
	z, err := zlib.NewWriterLevel(&stream, zlib.NoCompression)
	if err == nil {
		_, err = z.Write(inner)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // memory does not refuse to be written
	}
	return synth.Row{
		ID: fmt.Sprintf("%032x", i), Data: base64.StdEncoding.EncodeToString(stream.Bytes()),
		Timestamp: past().Add(time.Duration(i) * 10 * time.Minute), Inner: inner,
	}
}

func TestRestoreSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(31, 100, 3))
	created := 0
	var victim *child
	ready := make(chan struct{})
	gate := newGate(t, w.target, func(r request) passage {
		if r.creates() == "" {
			return passage{}
		}
		if created++; created < 2 {
			return passage{}
		}
		<-ready
		return passage{acted: victim.kill}
	})
	victim = w.start("--target", gate.server.URL)
	close(ready)
	if !victim.killed() {
		t.Fatal("it was not killed when it made its second index")
	}
	state, _ := w.state()
	if len(state.Borrowed) == 0 {
		t.Fatalf("nothing is borrowed: %+v", state)
	}
	w.migrate(exitDone, "--restore-settings")
	w.wantRestored()
	w.wantNotAhead()
	w.wantComplete(w.migrate(exitRejected).summary())
}

// TestSentrysDocumentsAreNotOverwritten has a past day whose index Sentry
// made: what it wrote there stays, unless the row is newer, and so do its
// settings.
func TestSentrysDocumentsAreNotOverwritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	o := events(32, 60, 1)
	o.Mix = synth.Clean()
	w.fill(o)
	w.must(http.MethodPut, "/_index_template/"+w.prefix, w.template(), nil)
	newer, older, same, rest := w.rows[:20], w.rows[20:30], w.rows[30:40], w.rows[40:]
	for i, row := range w.rows[:40] {
		at := row.Timestamp
		switch {
		case i < len(newer):
			at = at.Add(time.Second)
		case i < len(newer)+len(older):
			at = at.Add(-time.Second)
		}
		w.writeAsSentry(row, at)
	}
	s := w.migrate(exitDone).summary()
	want := node.Fates{
		node.Stored: int64(len(older) + len(rest)), node.AlreadyThere: int64(len(same)), node.Superseded: int64(len(newer)),
	}
	// In an index that Sentry writes to nobody can tell whether what a newer
	// node replaces was Sentry's or an earlier node: it counts as the latter.
	want[node.Stored] -= int64(len(older))
	want[node.Superseded] += int64(len(older))
	if s.Fates != want {
		t.Errorf("fates %v, want %v", s.Fates, want)
	}
	reader := w.openTarget()
	for i, row := range w.rows {
		sight, err := reader.Read(t.Context(), row.ID)
		if err != nil || sight.Copies != 1 {
			t.Fatalf("%d copies, %v", sight.Copies, err)
		}
		sentrys := i < len(newer) || i >= len(newer)+len(older) && i < 40
		if got := string(sight.Data) == sentrysData(row); got != sentrys {
			t.Errorf("row %d: Sentry's document is there: %v, want %v", i, got, sentrys)
		}
	}
	w.wantRestored()
}

// writeAsSentry writes a document of its own for a row's id.
func (w *world) writeAsSentry(row synth.Row, at time.Time) {
	w.t.Helper()
	body := fmt.Sprintf(`{"index":{"_index":%q,"_id":%q}}`+"\n"+`{"data":%q,"timestamp":%q}`+"\n",
		w.index(row), row.ID, sentrysData(row), at.UTC().Format("2006-01-02T15:04:05.000000+00:00"))
	var answer struct{ Errors bool }
	if w.must(http.MethodPost, "/_bulk?refresh=true", body, &answer); answer.Errors {
		w.t.Fatalf("Sentry could not write %q", row.ID)
	}
}

func sentrysData(row synth.Row) string {
	return base64.StdEncoding.EncodeToString([]byte("Sentry's own " + row.ID))
}

// template is the backend's.
func (w *world) template() string {
	body, err := json.Marshal(map[string]any{
		"index_patterns": []string{w.prefix + "-*"},
		"template": map[string]any{
			"settings": map[string]any{"number_of_shards": 1, "number_of_replicas": 1},
			"aliases":  map[string]any{w.prefix: map[string]any{}},
			"mappings": map[string]any{
				"_source": map[string]any{"enabled": false}, "dynamic": false,
				"properties": map[string]any{
					"data":      map[string]any{"type": "keyword", "index": false, "store": true, "doc_values": false},
					"timestamp": map[string]any{"type": "date"},
				},
			},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(body)
}

// TestTodaysIndexIsNeverChanged copies rows of today, to whose index Sentry
// may be writing.
func TestTodaysIndexIsNeverChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	now := time.Now().UTC()
	w.fill(synth.Options{Seed: 33, Rows: 80, From: now.Add(-48 * time.Hour), Until: now.Add(-time.Second), Mix: synth.Clean(), Distinct: 10})
	today := w.prefix + "-" + node.DayOf(now.UnixMicro()).String()
	gate := newGate(t, w.target, func(r request) passage {
		created := r.Method == http.MethodPut && r.URL.Path == "/"+today
		if strings.HasPrefix(r.URL.Path, "/"+today) && !created && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		return passage{}
	})
	w.migrate(exitDone, "--target", gate.server.URL)
	w.wantReadable()
	w.wantRestored()
}
