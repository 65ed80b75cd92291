package plan

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	reached "github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

func TestMain(m *testing.M) { os.Exit(testservers.Run(m)) }

// monolith is Sentry's own table among the others that tell what it is, with
// three days of nodes whose payload is "{}".
const monolith = `
	create table nodestore_node (id varchar(40) primary key, data text not null, "timestamp" timestamptz not null);
	create index on nodestore_node ("timestamp");
	create table auth_user (id serial primary key, username text);
	create table sentry_organization (id bigserial primary key, slug varchar(50));
	insert into auth_user (username) values ('admin');
	insert into sentry_organization (slug) values ('acme');
	insert into nodestore_node select md5(i::text), 'eJyrrgUAAXUA+Q==', timestamptz '2024-03-01 00:00+00' + i * interval '100 minutes' from generate_series(0, 42) i;
	analyze nodestore_node;`

// world is one test's own source and corner of a target.
type world struct {
	t      *testing.T
	conn   *pgx.Conn
	server string // the target's own URL, without a proxy
	client *http.Client
	login  *url.Userinfo // of call; nil: none
	config Config
	file   string // of the checkpoint
}

// newWorld makes a source and a target that a plan says go about.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	versions := testservers.PostgresVersions()
	return worldOn(t, testservers.Postgres(t, versions[len(versions)-1]), testservers.OpenSearch(t, testservers.OpenSearchVersions()[0]))
}

func worldOn(t *testing.T, database, cluster string) *world {
	t.Helper()
	name := "nm-" + strings.ToLower(rand.Text()[:10])
	w := &world{t: t, server: cluster, client: http.DefaultClient, file: filepath.Join(t.TempDir(), "test.checkpoint"), config: Config{
		Source: source.Config{ConnString: database, Table: "nodestore_node"},
		Target: target.Config{Config: reached.Config{URLs: []string{cluster}}, Backend: target.Backend{
			Alias: name, Template: name, Index: name + "-{date}", Pattern: name + "-*", Codec: "best_compression", Shards: 1,
		}},
		Senders: 2,
	}}
	w.config.Checkpoint = Record{Name: w.file, Read: func(context.Context, *target.Target) (checkpoint.State, error) { return checkpoint.Read(w.file) }}
	t.Cleanup(func() {
		w.call(http.MethodDelete, "/"+name+"-*", "")
		w.call(http.MethodDelete, "/_index_template/"+name+"*", "")
	})
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	w.conn = conn
	w.exec(monolith)
	return w
}

func (w *world) exec(sql string) {
	w.t.Helper()
	if _, err := w.conn.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// asRole lets the plan log in as a role that may only select from some tables.
func (w *world) asRole(tables string) {
	w.t.Helper()
	name := "plan_" + w.conn.Config().Database
	w.exec("create role " + name + " login password 'sesame-4711'; grant select on " + tables + " to " + name)
	w.t.Cleanup(func() {
		if _, err := w.conn.Exec(context.WithoutCancel(w.t.Context()), "drop owned by "+name+"; drop role "+name); err != nil {
			w.t.Error(err)
		}
	})
	address, err := url.Parse(w.config.Source.ConnString)
	if err != nil {
		w.t.Fatal(err)
	}
	address.User = url.UserPassword(name, "sesame-4711")
	w.config.Source.ConnString = address.String()
}

// call sends a request to the target and returns its status. {index} in path
// and body is the index of the first day.
func (w *world) call(method, path, body string) int {
	w.t.Helper()
	backend := w.config.Target.Backend
	replace := strings.NewReplacer("{index}", w.index("2024-03-01"), "{alias}", backend.Alias, "{pattern}", backend.Pattern)
	ctx := context.WithoutCancel(w.t.Context())
	request, err := http.NewRequestWithContext(ctx, method, w.server+replace.Replace(path), strings.NewReader(replace.Replace(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if w.login != nil {
		password, _ := w.login.Password()
		request.SetBasicAuth(w.login.Username(), password)
	}
	response, err := w.client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

func (w *world) must(method, path, body string) {
	w.t.Helper()
	if status := w.call(method, path, body); status >= http.StatusMultipleChoices {
		w.t.Fatalf("%s %s: status %d", method, path, status)
	}
}

func (w *world) index(day string) string {
	return strings.ReplaceAll(w.config.Target.Backend.Index, "{date}", day)
}

// behind puts a proxy before the target.
func (w *world) behind(rule faulty.Rule) {
	w.t.Helper()
	server, err := url.Parse(w.config.Target.URLs[0])
	if err != nil {
		w.t.Fatal(err)
	}
	w.config.Target.URLs = []string{faulty.NewHTTPProxy(w.t, server.Host, rule).URL()}
}

func (w *world) plan() Plan {
	w.t.Helper()
	made, err := Make(w.t.Context(), w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// find returns the check of a name.
func find(t *testing.T, made Plan, side Side, name string) Check {
	t.Helper()
	for _, c := range made.Checks {
		if c.Side == side && c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s %s in %+v", side, name, made.Checks)
	return Check{}
}

func decode(t *testing.T, r io.Reader, answer any) {
	t.Helper()
	if err := json.NewDecoder(r).Decode(answer); err != nil {
		t.Fatal(err)
	}
}
