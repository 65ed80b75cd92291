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
	server := testservers.OwnPostgres(t, options)
	primary = connect(t, server.URL())
	primary.exec(schema)
	options.StandbyOf = server
	return primary, testservers.OwnPostgres(t, options).URL()
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
	if of := primary.open("nodestore_node"); s.Origin("") != of.Origin("") || s.Origin("").System == "" || of.Relation().InRecovery {
		t.Errorf("standby %+v, primary %+v", s.Origin(""), of.Origin(""))
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

func TestAStandbysNowIsWhatItHasReplayed(t *testing.T) {
	primary, url := primaryAndStandby(t, plain+`insert into nodestore_node values ('a', 'x', '2024-01-01 00:00+00')`)
	standby := connect(t, url)
	s := standby.open("nodestore_node")

	// It replays nothing but what is older than the standby, so it knows no time.
	if now, err := s.Now(t.Context()); err != nil || now != day(t, "2024-01-01").Start()+1 {
		t.Errorf("with nothing replayed: %d, %v", now, err)
	}

	primary.exec(`insert into nodestore_node values ('b', 'x', now())`)
	standby.until(`select count(*) = 2 from nodestore_node`)
	standby.exec("select pg_wal_replay_pause()")
	standby.until("select pg_get_wal_replay_pause_state() = 'paused'")
	paused := primary.micros("select clock_timestamp()")
	primary.exec(`insert into nodestore_node values ('c', 'x', now())`)
	now, err := s.Now(t.Context())
	if err != nil || now >= paused || now < primary.micros(`select "timestamp" from nodestore_node where id = 'b'`) {
		t.Errorf("paused at %d: %d, %v", paused, now, err)
	}
	r, err := s.Replay(t.Context())
	if want := (Replay{Clock: r.Clock, InRecovery: true, Paused: true, Receiving: true, Until: now}); err != nil || r != want {
		t.Errorf("paused: %+v, want %+v, %v", r, want, err)
	}

	standby.exec("select pg_wal_replay_resume()")
	standby.until(`select count(*) = 3 from nodestore_node`)
	if now, err := s.Now(t.Context()); err != nil || now < paused {
		t.Errorf("resumed after %d: %d, %v", paused, now, err)
	}
	standby.exec("select pg_promote()")
	promoted := standby.micros("select clock_timestamp()")
	if now, err := s.Now(t.Context()); err != nil || now < promoted {
		t.Errorf("promoted at %d: %d, %v", promoted, now, err)
	}
	if r, err := s.Replay(t.Context()); err != nil || r != (Replay{Clock: r.Clock}) {
		t.Errorf("promoted: %+v, %v", r, err)
	}
}

// A balancer over replicas, or a failover, leads from a server to one behind it.
func TestAServerThatIsBehindAnotherIsNotListenedTo(t *testing.T) {
	primary, url := primaryAndStandby(t, plain+`insert into nodestore_node values ('a', 'x', '2024-01-01 00:00+00')`)
	standby := connect(t, url)
	standby.until(`select count(*) = 1 from nodestore_node`)
	s := primary.open("nodestore_node")
	standby.exec("select pg_wal_replay_pause()")
	standby.until("select pg_get_wal_replay_pause_state() = 'paused'")
	primary.exec(`insert into nodestore_node values ('b', 'x', '2024-01-01 00:00+00')`)
	if _, err := s.Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count(t.Context(), minMicros, maxMicros); err != nil || n != 2 {
		t.Errorf("primary: %d, %v", n, err)
	}
	other, _, err := parse(url)
	if err != nil {
		t.Fatal(err)
	}
	s.pool.close()
	s.pool = newPool(other, 2, nil)
	err = s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error { return nil })
	if checkError(t, err, "has not replayed", "several servers"); !Retryable(err) {
		t.Error(err)
	}
	standby.exec("select pg_wal_replay_resume()")
	standby.until(`select count(*) = 2 from nodestore_node`)
	if n, err := s.Count(t.Context(), minMicros, maxMicros); err != nil || n != 2 {
		t.Errorf("standby: %d, %v", n, err)
	}
}

func connect(t *testing.T, url string) database {
	t.Helper()
	conn, err := connectPlain(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return database{t: t, url: url, conn: conn}
}

// until waits for a condition.
func (db database) until(condition string) {
	db.t.Helper()
	db.exec("do $$ begin while not (" + condition + ") loop perform pg_sleep(0.01); end loop; end $$")
}

func (db database) micros(sql string) int64 {
	db.t.Helper()
	micros, err := parseTimestamp(db.exec("set timezone = 'UTC'; " + sql)[0][0])
	if err != nil {
		db.t.Fatal(err)
	}
	return micros
}
