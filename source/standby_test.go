package source

import (
	"context"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// primaryAndStandby starts a primary with rows and a standby that cancels a
// query at once when replay has to wait for it. They stop with the test.
func primaryAndStandby(t *testing.T, schema string) (primary database, standby string) {
	t.Helper()
	t.Parallel()
	versions := testservers.PostgresVersions()
	options := testbed.PostgresOptions{
		Version:  versions[len(versions)-1],
		Settings: map[string]string{"max_standby_streaming_delay": "0", "autovacuum": "off"},
	}
	server := startPostgres(t, options)
	conn, err := connectPlain(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	primary = database{t: t, url: server.URL(), conn: conn}
	primary.exec(schema)
	options.StandbyOf = server
	return primary, startPostgres(t, options).URL()
}

func startPostgres(t *testing.T, options testbed.PostgresOptions) *testbed.Postgres {
	t.Helper()
	server, err := testbed.StartPostgres(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func TestStandby(t *testing.T) {
	primary, standby := primaryAndStandby(t, manyRows)
	s, err := Open(t.Context(), Config{ConnString: standby, Table: "nodestore_node"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Relation().InRecovery {
		t.Errorf("%+v", s.Relation())
	}
	if of := primary.open("nodestore_node"); s.Identity() != of.Identity() || s.Identity().System == "" || of.Relation().InRecovery {
		t.Errorf("standby %+v, primary %+v", s.Identity(), of.Identity())
	}
	countRows(t, s)

	// Replay of a lock cancels a stream that it meets: that is worth another
	// try. The pause at each row makes the stream outlast the lock's way here.
	rows := 0
	err = s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error {
		if rows++; rows == 1 {
			primary.exec("begin; lock nodestore_node in access exclusive mode; commit")
		}
		primary.exec("select pg_sleep(0.002)")
		return nil
	})
	if !Retryable(err) || rows == 2000 {
		t.Errorf("%d rows, %v, retryable %v", rows, err, Retryable(err))
	}
	countRows(t, s)
}
