package source

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// TestMain also finds goroutines that outlive a source: every test closes its own.
func TestMain(m *testing.M) {
	os.Exit(testservers.RunWithoutLeaks(m))
}

// database is a fresh database of one test.
type database struct {
	t    *testing.T
	url  string
	conn *pgconn.PgConn
}

// eachVersion runs a test on every supported server, each time with a fresh database.
func eachVersion(t *testing.T, test func(t *testing.T, db database)) {
	t.Parallel()
	for _, version := range testservers.PostgresVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, version))
		})
	}
}

// newest is a fresh database on the newest server.
func newest(t *testing.T) database {
	t.Parallel()
	return newDatabase(t, latest())
}

func latest() string {
	versions := testservers.PostgresVersions()
	return versions[len(versions)-1]
}

func newDatabase(t *testing.T, version string) database {
	t.Helper()
	db := database{t: t, url: testservers.Postgres(t, version)}
	conn, err := connectPlain(t.Context(), db.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	db.conn = conn
	return db
}

// connectPlain makes a connection as pgx does by itself.
func connectPlain(ctx context.Context, url string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, url)
}

// exec runs SQL and returns the rows of its last statement.
func (db database) exec(sql string) [][]string {
	db.t.Helper()
	results, err := db.conn.Exec(db.t.Context(), sql).ReadAll()
	if err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
	return textRows(results[len(results)-1].Rows)
}

// open opens a source over two connections.
func (db database) open(table string) *Source {
	db.t.Helper()
	s, err := Open(db.t.Context(), Config{ConnString: db.url, Table: table, Connections: 2})
	if err != nil {
		db.t.Fatalf("open %s: %v", table, err)
	}
	db.t.Cleanup(s.Close)
	return s
}

// plain makes Sentry's own table.
const plain = `create table nodestore_node (id varchar(40) primary key, data text not null, "timestamp" timestamptz not null);
create index on nodestore_node ("timestamp");`

// schemas are the shapes in which nodestore_node is found. Each takes an insert
// of (id, data, timestamp) into "rows"; the payload of a bytea one is decoded.
func schemas() map[string]string {
	const partitions = `
		create table %s_1 partition of %s for values from ('2024-01-01 00:00+00') to ('2024-01-02 00:00+00');
		create table %s_2 partition of %s for values from ('2024-01-02 00:00+00') to ('2024-01-03 00:00+00');
		create table %s_rest partition of %s default;`
	of := func(name string) string { return strings.ReplaceAll(partitions, "%s", name) }
	return map[string]string{
		"plain": plain + `create view rows as select * from nodestore_node;`,
		"partitioned": `create table nodestore_node (id varchar(40) not null, data text not null, "timestamp" timestamptz not null) partition by range ("timestamp");
			create index on nodestore_node ("timestamp");` + of("nodestore_node") + `
			create view rows as select * from nodestore_node;`,
		"view": `create table store (id varchar(40) not null, data bytea not null, "timestamp" timestamptz not null) partition by range ("timestamp");
			create index on store ("timestamp");` + of("store") + `
			create view nodestore_node as select id, encode(data, 'base64') as data, "timestamp" from store;
			create view rows as select id, ''::text as data, "timestamp" from store;
			create rule put as on insert to rows do instead insert into store values (new.id, decode(new.data, 'base64'), new."timestamp");`,
	}
}
