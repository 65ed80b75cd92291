package verify_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// TestMain also finds goroutines that outlive a verification.
func TestMain(m *testing.M) {
	os.Exit(testservers.RunWithoutLeaks(m))
}

// world is a source, and a target that it was migrated to.
type world struct {
	t       *testing.T
	url     string // of the source
	db      *pgx.Conn
	server  string // of the target
	backend target.Backend
	parts   verify.Parts
	dir     string
	rows    []synth.Row // readable, ids once
	depth   node.Depth  // to which payloads were checked when they were copied

	switchedAt int64 // µs since 1970, 0 before the switch
}

// start and days are when the nodes of a world were written.
var start = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

const days = 3

// newWorld is a migration of rows whose payloads were all checked.
func newWorld(t *testing.T, rows int, mix synth.Mix) *world {
	t.Helper()
	return newWorldChecked(t, node.Full, synth.Options{Rows: rows, Mix: mix})
}

func newWorldChecked(t *testing.T, depth node.Depth, o synth.Options, change ...func(*world)) *world {
	t.Helper()
	t.Parallel()
	versions := testservers.PostgresVersions()
	return newWorldOf(t, testservers.Postgres(t, versions[len(versions)-1]), depth, o, change...)
}

// newWorldOf is the same with the source at a URL.
func newWorldOf(t *testing.T, url string, depth node.Depth, o synth.Options, change ...func(*world)) *world {
	t.Helper()
	name := "nm-" + strings.ToLower(rand.Text()[:10])
	w := &world{t: t, url: url, depth: depth, server: testservers.OpenSearch(t, testservers.OpenSearchVersions()[0]), dir: t.TempDir(), backend: target.Backend{
		Alias: name, Template: name, Index: name + "-{date}", Pattern: name + "-*", Codec: "best_compression", Shards: 1,
	}}
	t.Cleanup(func() {
		w.call(http.MethodDelete, "/"+name+"-*", "")
		w.call(http.MethodDelete, "/_index_template/"+name, "")
	})
	o.Seed, o.From, o.Until, o.Distinct = 7, start, start.AddDate(0, 0, days), 40
	w.fill(url, o)
	for _, how := range change {
		how(w)
	}
	w.open(w.url)
	w.migrate()
	return w
}

func (w *world) fill(url string, o synth.Options) {
	w.t.Helper()
	ctx := w.t.Context()
	var err error
	if w.db, err = pgx.Connect(ctx, url); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.db.Close(context.WithoutCancel(ctx)) })
	w.must(synth.CreateTable(ctx, w.db, "nodestore_node"))
	_, err = synth.Fill(ctx, w.db, "nodestore_node", o)
	w.must(err)
	for row := range synth.Rows(o) {
		if row.Kind.Readable() {
			w.rows = append(w.rows, row)
		}
	}
}

func (w *world) open(url string) {
	w.t.Helper()
	ctx := w.t.Context()
	var err error
	w.parts.Source = w.openSource(url)
	w.parts.Target, err = target.Open(ctx, target.Config{Config: cluster.Config{URLs: []string{w.server}, Patience: 20 * time.Second}, Backend: w.backend})
	w.must(err)
	w.t.Cleanup(w.parts.Target.Close)
	_, err = w.parts.Target.EnsureTemplate(ctx)
	w.must(err)
	w.openCheckpoint()
}

func (w *world) openSource(url string) *source.Source {
	w.t.Helper()
	opened, err := source.Open(w.t.Context(), source.Config{ConnString: url, Table: "nodestore_node", Connections: 3})
	w.must(err)
	w.t.Cleanup(opened.Close)
	return opened
}

// openCheckpoint opens the world's checkpoint, again after it was closed.
func (w *world) openCheckpoint() {
	w.t.Helper()
	medium, err := checkpoint.OpenFile(filepath.Join(w.dir, "checkpoint"))
	w.must(err)
	to := w.parts.Target.Identity()
	opened, err := checkpoint.Open(w.t.Context(), medium, checkpoint.Binding{
		Source: w.parts.Source.Origin(""),
		Target: checkpoint.Target{Cluster: to.ClusterUUID, Alias: w.backend.Alias, Index: w.backend.Index},
	})
	w.must(err)
	w.parts.Checkpoint = opened
	w.t.Cleanup(func() { w.must(opened.Close()) })
}

func (w *world) rejectedList() string { return filepath.Join(w.dir, "rejected.jsonl") }
func (w *world) findingsFile() string { return filepath.Join(w.dir, "findings.jsonl") }

func (w *world) migrate() {
	w.t.Helper()
	var size migrate.RejectsSize
	w.parts.Checkpoint.View(func(s *checkpoint.State) { size = migrate.RejectsSize(s.Rejected) })
	rejects, err := migrate.OpenRejects(w.rejectedList(), "", size)
	w.must(err)
	defer func() { w.must(rejects.Close()) }()
	_, err = migrate.New(migrate.Parts{
		Source: w.parts.Source, Target: w.parts.Target, Checkpoint: w.parts.Checkpoint, Rejects: rejects,
	}, migrate.Options{Readers: 2, Senders: 2, BatchBytes: 1 << 20, Depth: w.depth, SwitchedAt: w.switchedAt}).Run(w.t.Context())
	w.must(err)
}

// switchOver is the switch, an hour ago, and the migration that follows it.
func (w *world) switchOver() {
	w.t.Helper()
	w.switchedAt = time.Now().Add(-time.Hour).UnixMicro()
	w.migrate()
}

// change changes the record of the migration.
func (w *world) change(how func(*checkpoint.State)) {
	w.t.Helper()
	w.must(w.parts.Checkpoint.Update(w.t.Context(), how))
}

// options look again at once: nothing moves in these tests unless they say so.
func (w *world) options(level verify.Level) verify.Options {
	return verify.Options{
		Level: level, Workers: 2, RejectedList: w.rejectedList(), Findings: w.findingsFile(),
		Pauses: []time.Duration{time.Millisecond, time.Millisecond},
	}
}

func (w *world) verify(o verify.Options) *verify.Report {
	w.t.Helper()
	report, err := verify.New(w.parts, o).Run(w.t.Context())
	w.must(err)
	report.NextSteps = cli.Steps(report)
	return report
}

// listed reads the file of findings.
func (w *world) listed() (found []verify.Finding) {
	w.t.Helper()
	content, err := os.ReadFile(w.findingsFile())
	w.must(err)
	for line := range bytes.Lines(content) {
		var f verify.Finding
		w.must(json.Unmarshal(line, &f))
		found = append(found, f)
	}
	return found
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, hint.Of(err))
	}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), sql, args...)
	w.must(err)
}

// call sends a plain request to the target. Its context is not the test's own,
// which has ended when a cleanup runs.
func (w *world) call(method, path, body string) string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), method, w.server+path, strings.NewReader(body))
	w.must(err)
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	w.must(err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	w.must(err)
	if response.StatusCode >= http.StatusMultipleChoices && response.StatusCode != http.StatusNotFound {
		w.t.Fatalf("%s %s: %s", method, path, content)
	}
	return string(content)
}

func (w *world) index(at time.Time) string {
	return strings.ReplaceAll(w.backend.Index, "{date}", at.UTC().Format(time.DateOnly))
}

// put stores a document as it is, past all that the tool would do.
func (w *world) put(index, id, data string, at time.Time) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"data": data, "timestamp": at.Format("2006-01-02T15:04:05.000000-07:00")})
	w.must(err)
	w.call(http.MethodPut, "/"+index+"/_doc/"+escape(id)+"?refresh=true", string(body))
}

// putAll stores the documents of rows, with other data if that is not "".
func (w *world) putAll(rows []synth.Row, data string) {
	w.t.Helper()
	var body strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&body, "{\"index\":{\"_index\":%q,\"_id\":%q}}\n{\"data\":%q,\"timestamp\":%q}\n",
			w.index(r.Timestamp), r.ID, cmp.Or(data, r.Data), r.Timestamp.Format("2006-01-02T15:04:05.000000-07:00"))
	}
	w.call(http.MethodPost, "/_bulk?refresh=true", body.String())
}

func (w *world) remove(index, id string) {
	w.t.Helper()
	w.call(http.MethodDelete, "/"+index+"/_doc/"+escape(id)+"?refresh=true", "")
}

func escape(id string) string { return strings.NewReplacer("/", "%2F", "+", "%2B").Replace(id) }
