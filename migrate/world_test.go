package migrate_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// world is one test's own database, and its own alias, template and indices on
// a shared OpenSearch.
type world struct {
	t      *testing.T
	sql    *pgx.Conn
	source string // URL of the database
	target string // URL of OpenSearch
	prefix string // alias and template; daily indices are prefix-DATE
	dir    string // of the checkpoint
	rows   []synth.Row

	records     string   // index of the checkpoint; "": it is a file
	environment []string // of the tool, beside this process's own
}

// pair is a version of each server.
type pair struct{ postgres, openSearch string }

// newestPair is where a test runs that is not about versions.
func newestPair() pair {
	versions := testservers.PostgresVersions()
	return pair{versions[len(versions)-1], testservers.OpenSearchVersions()[0]}
}

// otherOpenSearch is another cluster than that of newestPair.
func otherOpenSearch() string {
	versions := testservers.OpenSearchVersions()
	return versions[len(versions)-1]
}

func newWorld(t *testing.T, servers pair) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), prefix: "nm-" + strings.ToLower(rand.Text()[:10]),
		source: testservers.Postgres(t, servers.postgres), target: testservers.OpenSearch(t, servers.openSearch),
	}
	conn, err := pgx.Connect(t.Context(), w.source)
	if err != nil {
		t.Fatal(err)
	}
	w.sql = conn
	t.Cleanup(func() {
		_ = conn.Close(context.Background()) // the database is dropped in any case
		w.request(http.MethodDelete, "/"+w.prefix+"-*", "", nil)
		w.request(http.MethodDelete, "/_index_template/"+w.prefix, "", nil)
	})
	return w
}

// past is a time whose days nobody writes to any more.
func past() time.Time { return time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC) }

// events describes rows of every kind over some days.
func events(seed uint64, rows, days int) synth.Options {
	return synth.Options{Seed: seed, Rows: rows, From: past(), Until: past().AddDate(0, 0, days), Mix: synth.Everything(), Distinct: 40}
}

// fill makes Sentry's own table with rows.
func (w *world) fill(o synth.Options) *world {
	w.t.Helper()
	if err := synth.CreateTable(w.t.Context(), w.sql, "nodestore_node"); err != nil {
		w.t.Fatal(err)
	}
	w.insert("nodestore_node", slices.Collect(synth.Rows(o)))
	return w
}

// fillBytes makes the table store, with the zlib stream itself as its data.
// What is wrong with base64 text has no place there, and a stream with a wrong
// header is taken for such text.
func (w *world) fillBytes(create string, o synth.Options) *world {
	w.t.Helper()
	w.exec(create)
	for _, kind := range []synth.Kind{synth.Wrapped, synth.Junk, synth.CorruptBase64, synth.CorruptZlib} {
		o.Mix[kind] = 0
	}
	w.insert("store", slices.Collect(synth.Rows(o)))
	return w
}

// insert copies rows into a table whose data is text, or the bytes of store.
func (w *world) insert(table string, rows []synth.Row) {
	w.t.Helper()
	values := pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		row := rows[i]
		if table != "store" {
			return []any{row.ID, row.Data, row.Timestamp}, nil
		}
		stream, err := base64.StdEncoding.DecodeString(row.Data)
		return []any{row.ID, stream, row.Timestamp}, err
	})
	if _, err := w.sql.CopyFrom(w.t.Context(), pgx.Identifier{table}, []string{"id", "data", "timestamp"}, values); err != nil {
		w.t.Fatal(err)
	}
	w.exec("analyze " + table)
	w.rows = append(w.rows, rows...)
}

func (w *world) exec(sql string) {
	w.t.Helper()
	// A cleanup runs when the test's own context has ended.
	if _, err := w.sql.Exec(context.WithoutCancel(w.t.Context()), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// index is the daily index that a row belongs to.
func (w *world) index(row synth.Row) string { return w.prefix + "-" + dayOf(row).String() }

func dayOf(row synth.Row) node.Day { return node.DayOf(row.Timestamp.UnixMicro()) }

func (w *world) checkpoint() string { return filepath.Join(w.dir, "test.checkpoint") }

func (w *world) rejectedFile() string { return filepath.Join(w.dir, "test.rejected.jsonl") }

// request asks OpenSearch, decodes its answer unless that is nil, and returns
// the status.
func (w *world) request(method, path, body string, answer any) int {
	w.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, w.target+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && answer != nil {
		err = json.NewDecoder(bytes.NewReader(content)).Decode(answer)
	}
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode
}

// must is request for what has to go well.
func (w *world) must(method, path, body string, answer any) {
	w.t.Helper()
	if status := w.request(method, path, body, answer); status >= http.StatusMultipleChoices {
		w.t.Fatalf("%s %s: status %d", method, path, status)
	}
}

// hostOf is the address in a URL, HOST:PORT.
func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// through is a URL with another address in it.
func through(t *testing.T, raw, address string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address
	return u.String()
}

// as is a URL with another user in it.
func as(t *testing.T, raw, user string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	return u.String()
}
