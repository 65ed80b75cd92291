package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func checkError(t *testing.T, err error, want, remedy string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with %s", err, want)
	}
	if !strings.Contains(hint.Of(err), remedy) {
		t.Errorf("%v: hint %q, want %q", err, hint.Of(err), remedy)
	}
}

func TestOpenExplainsWhatIsWrongWithTheTable(t *testing.T) {
	const columns = `(id text, data text, "timestamp" timestamptz)`
	tests := []struct{ name, schema, table, want, remedy string }{
		{"absent", "", "nodestore_node", "no table nodestore_node in database", ""},
		{"elsewhere", `create schema "Old"; create table "Old".nodestore_node ` + columns, "nodestore_node", "no table nodestore_node", ""},
		{"sequence", "create sequence nodestore_node", "nodestore_node", "is not a table or a view", "name the table"},
		{"column", "create table n (id text, data text)", "n", `"public"."n" has no column timestamp`, ""},
		{"id type", `create table n (id int, data text, "timestamp" timestamptz)`, "n", "column id of", ""},
		{"data type", `create table n (id text, data json, "timestamp" timestamptz)`, "n", "is json, want text or bytea", ""},
		{"time type", `create table n (id text, data text, "timestamp" timestamp)`, "n", "is timestamp without time zone", ""},
	}
	t.Parallel()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			db := newest(t)
			if test.schema != "" {
				db.exec(test.schema)
			}
			s, err := Open(t.Context(), Config{ConnString: db.url, Table: test.table})
			if err == nil {
				s.Close()
			}
			checkError(t, err, test.want, test.remedy)
			if Retryable(err) {
				t.Errorf("retryable: %v", err)
			}
			if missing, ok := errors.AsType[*NoTableError](err); ok && (missing.Near == `"Old".nodestore_node`) != (test.name == "elsewhere") {
				t.Errorf("%+v", missing)
			}
		})
	}
}

func TestQuotedTableAndUnusualTypes(t *testing.T) {
	db := newest(t)
	db.exec(`create schema "My ""S"; create table "My ""S"."Node" (id uuid primary key, data bytea, "timestamp" timestamptz);
		insert into "My ""S"."Node" values ('00112233-4455-6677-8899-aabbccddeeff', '\x00ff', '2024-01-01 00:00+00')`)
	s := db.open(`"My ""S"."Node"`)
	var got []seen
	if err := s.Fetch(t.Context(), []string{"i-o:1", "00112233-4455-6677-8899-aabbccddeeff", ""}, collect(&got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].data != "\x00\xff" || !s.Relation().IDIndexed || s.Relation().Encoding != Bytea {
		t.Errorf("%v of %+v", got, s.Relation())
	}
}

func TestNullsOfAViewAreHandedOver(t *testing.T) {
	db := newest(t)
	db.exec(`create table n (id text, data text, "timestamp" timestamptz);
		insert into n values ('a', null, '2024-01-01 00:00+00'), (null, '', '2024-01-01 00:00+00'), (null, 'x', null), ('b', null, 'infinity')`)
	s := db.open("n")
	var rows []string
	see := func(id []byte, rest string) error {
		rows = append(rows, fmt.Sprint(id == nil, string(id), rest))
		return nil
	}
	methods := map[string]struct {
		read func() error
		want string
	}{
		"Stream": {func() error {
			return s.Stream(t.Context(), minMicros, maxMicros, func(n node.Node) error { return see(n.ID, fmt.Sprint(" ", n.Data == nil)) })
		}, "falsea true,true false"},
		"Fetch": {func() error {
			return s.Fetch(t.Context(), []string{"a", ""}, func(n node.Node) error { return see(n.ID, fmt.Sprint(" ", n.Data == nil)) })
		}, "falsea true"},
		"Keys": {func() error {
			return s.Keys(t.Context(), minMicros, maxMicros, func(id []byte, _ int64) error { return see(id, "") })
		}, "falsea,true"},
		"Entries": {func() error {
			return s.Entries(t.Context(), minMicros, maxMicros, func(e Entry) error { return see(e.ID, fmt.Sprint(" ", e.Bytes)) })
		}, "falsea 0,true 0"},
		"Unbounded": {func() error {
			return s.Unbounded(t.Context(), func(id []byte, timestamp string) error { return see(id, timestamp) })
		}, "falsebinfinity,truenull"},
	}
	for name, method := range methods {
		rows = nil
		if err := method.read(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		slices.Sort(rows)
		if got := strings.Join(rows, ","); got != method.want {
			t.Errorf("%s: got %s, want %s", name, got, method.want)
		}
	}
}

// roleURL makes a login role without rights and returns its URL.
func (db database) roleURL(name string) string {
	db.t.Helper()
	role := name + strings.TrimPrefix(db.exec("select current_database()")[0][0], "test")
	db.exec("create role " + role + " login password 'sesame-4711'")
	db.t.Cleanup(func() {
		_, err := db.conn.Exec(context.Background(), fmt.Sprintf("drop owned by %[1]s; drop role %[1]s", role)).ReadAll()
		if err != nil {
			db.t.Error(err)
		}
	})
	address, err := url.Parse(db.url)
	if err != nil {
		db.t.Fatal(err)
	}
	address.User = url.UserPassword(role, "sesame-4711")
	return address.String()
}

func TestPrivileges(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain)
		config := Config{ConnString: db.roleURL("reader"), Table: "nodestore_node"}
		_, err := Open(t.Context(), config)
		checkError(t, err, "may not read column", `GRANT SELECT ON "public"."nodestore_node" TO reader_`)

		remedy := strings.TrimPrefix(hint.Of(err), "run: ")
		db.exec(remedy + "; revoke execute on function pg_control_system() from public")
		s, err := Open(t.Context(), config)
		if err != nil {
			t.Fatalf("after %s: %v", remedy, err)
		}
		defer s.Close()
		if id := s.Origin(""); id.System != "" || id.Database == "" || id.Table != "public.nodestore_node" {
			t.Errorf("%+v", id)
		}

		db.exec("alter table nodestore_node enable row level security")
		_, err = s.Count(t.Context(), minMicros, maxMicros)
		checkError(t, err, "row-level security", "BYPASSRLS")
	})
}

func TestOpenExplainsWhyItCannotConnect(t *testing.T) {
	db := newest(t)
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(u *url.URL)) string {
		u := *address
		u.User = url.UserPassword("postgres", "sesame-4711")
		change(&u)
		return u.String()
	}
	tests := []struct{ name, conn, want, remedy string }{
		{"closed port", with(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "connect to PostgreSQL at 127.0.0.1:1", "check host and port"},
		{"no such host", with(func(u *url.URL) { u.Host = "nowhere.invalid:5432" }), "nowhere.invalid", `no address for "nowhere.invalid"`},
		{"no such database", with(func(u *url.URL) { u.Path = "/absent" }), "SQLSTATE 3D000", "usually called postgres or sentry"},
		{"no such role", with(func(u *url.URL) { u.User = url.UserPassword("nobody", "sesame-4711") }), "nobody", ""},
		{"no TLS", with(func(u *url.URL) { u.RawQuery = "sslmode=require" }), "refused TLS", "sslmode=disable"},
		{"bad port", "postgres://u:sesame-4711@h:port/db", "parse connection string", "PGPASSWORD"},
		{"bad option", "host=h password=sesame-4711 port", "parse connection string", "PGPASSWORD"},
		{"slash in the password", "postgres://u:sesame-4711/x@h:5/db", "parse connection string", "%XX"},
		{"no CA file", "host=h password=sesame-4711 sslmode=verify-full sslrootcert=/absent.pem", "/absent.pem", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Config{ConnString: test.conn, Table: "nodestore_node"})
			if err == nil {
				s.Close()
			}
			checkError(t, err, test.want, test.remedy)
			if text := fmt.Sprintf("%v %+v %s", err, err, hint.Of(err)); strings.Contains(text, "sesame") {
				t.Errorf("the password is in %s", text)
			}
		})
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	if err := queryFailure(t.Context(), "stream nodes", io.ErrUnexpectedEOF); !Retryable(err) {
		t.Errorf("not retryable: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := queryFailure(cancelled, "stream nodes", io.ErrUnexpectedEOF); Retryable(err) {
		t.Errorf("retryable: %v", err)
	}
	if Retryable(io.ErrUnexpectedEOF) || Retryable(nil) {
		t.Error("an error that is not the source's is retryable")
	}
}
