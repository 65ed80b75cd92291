package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// manyRows fills 2000 nodes of 20 kB, more than fits into the buffers of a connection.
const manyRows = plain + `alter table nodestore_node alter column data set storage external;
	insert into nodestore_node select 'n' || i, repeat('x', 20000), timestamptz '2024-01-01 00:00+00' + i * interval '1 second' from generate_series(1, 2000) i;`

func countRows(t *testing.T, s *Source) {
	t.Helper()
	rows := 0
	err := s.Stream(t.Context(), minMicros, maxMicros, func(n node.Node) error {
		if len(n.Data) != 20000 {
			return fmt.Errorf("%s has %d bytes", n.ID, len(n.Data))
		}
		rows++
		return nil
	})
	if err != nil || rows != 2000 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestVisitorsErrorStopsTheCopyAndIsReturnedAsItIs(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	s := db.open("nodestore_node")
	stop := &net.OpError{Op: "bulk", Err: io.ErrUnexpectedEOF} // would be retried if it were the source's
	for range 5 {
		calls := 0
		err := s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error { calls++; return stop })
		if !errors.Is(err, stop) || calls != 1 || Retryable(err) {
			t.Errorf("%d calls, %#v, retryable %v", calls, err, Retryable(err))
		}
	}
	countRows(t, s)
}

func TestCancelledInMidStream(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	s := db.open("nodestore_node")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows := 0
	err := s.Stream(ctx, minMicros, maxMicros, func(node.Node) error { rows++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || Retryable(err) || rows == 2000 {
		t.Errorf("%d rows, %v, retryable %v", rows, err, Retryable(err))
	}
	countRows(t, s)
}

func TestCancelledWhileWaitingForAConnection(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	s, err := Open(t.Context(), Config{ConnString: db.url, Table: "nodestore_node"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := errors.New("stop")
	err = s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error {
		waiting := make(chan error)
		go func() { _, err := s.Count(ctx, minMicros, maxMicros); waiting <- err }()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) || Retryable(err) {
			t.Errorf("%v, retryable %v", err, Retryable(err))
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	countRows(t, s)
}

func TestMoreStreamsThanConnections(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	s := db.open("nodestore_node")
	var g errgroup.Group
	for range 6 {
		g.Go(func() error { countRows(t, s); return nil })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	used := db.exec(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'nodestore-migrate'`)
	if used[0][0] != "2" {
		t.Errorf("%s connections, want 2", used[0][0])
	}
}

func TestServerEndsTheConnection(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(manyRows)
		s := db.open("nodestore_node")
		rows := 0
		err := s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error {
			if rows++; rows == 1 {
				db.exec(`select pg_terminate_backend(pid) from pg_stat_activity
					where datname = current_database() and application_name = 'nodestore-migrate'`)
			}
			return nil
		})
		if !Retryable(err) || rows == 2000 {
			t.Errorf("%d rows, %v, retryable %v", rows, err, Retryable(err))
		}
		countRows(t, s)
	})
}

// cutter forwards connections to a server and cuts the first of them when the
// server has sent limit bytes.
func cutter(t *testing.T, server string, limit int64) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		for cut := limit; ; cut = 1 << 62 {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { forward(t, client, server, cut) })
		}
	})
	return listener.Addr().String()
}

func forward(t *testing.T, client net.Conn, server string, limit int64) {
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		t.Error(err)
		_ = client.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(upstream, client); _ = upstream.Close() })
	_, _ = io.CopyN(client, upstream, limit)
	_ = client.Close()
	both.Wait()
}

func TestConnectionCutInMidStream(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	target, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	target.Host = cutter(t, target.Host, 1<<20)
	s, err := Open(t.Context(), Config{ConnString: target.String(), Table: "nodestore_node"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := 0
	err = s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error { rows++; return nil })
	if !Retryable(err) || rows == 0 || rows == 2000 {
		t.Errorf("%d rows, %v, retryable %v", rows, err, Retryable(err))
	}
	countRows(t, s)
}

// A server that restarts in the middle of opening is not a mistyped address.
func TestConnectionCutWhileOpening(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	address.Host = cutter(t, address.Host, 2000)
	db.url = address.String()
	cut := db.open("nodestore_node")
	if cut.Relation().Rows != 0 || !cut.Relation().TimestampIndexed {
		t.Errorf("%+v", cut.Relation())
	}
}

func TestHugeRow(t *testing.T) {
	db := newest(t)
	db.exec(plain + `insert into nodestore_node values ('small', 'x', '2024-01-01 00:00+00'), ('huge', repeat('0123456789', 2000000), '2024-01-01 00:00+00')`)
	s := db.open("nodestore_node")
	var got []seen
	if err := s.Stream(t.Context(), minMicros, maxMicros, collect(&got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].data != strings.Repeat("0123456789", 2000000) {
		t.Errorf("%d rows", len(got))
	}
}

func TestTransactionsAreReadOnlyAndNeverIdle(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain)
		s := db.open("nodestore_node")
		_, err := s.query(t.Context(), "write", "insert into nodestore_node values ('a', 'b', now())")
		if err == nil || !strings.Contains(err.Error(), "SQLSTATE 25006") {
			t.Errorf("an insert: %v", err)
		}
		states := db.exec(`select distinct state from pg_stat_activity where datname = current_database() and application_name = 'nodestore-migrate'`)
		if len(states) != 1 || states[0][0] != "idle" {
			t.Errorf("after an error the connection is %v", states)
		}
	})
}

func TestRoleWithItsOwnSettings(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain + `insert into nodestore_node values (E'o\'id\\', 'x', '2024-01-01 00:00+00');
			do $$ begin execute format('alter database %I set standard_conforming_strings = off', current_database());
			execute format('alter database %I set timezone = ''Asia/Kathmandu''', current_database());
			execute format('alter database %I set datestyle = ''German''', current_database()); end $$`)
		s := db.open("nodestore_node")
		var got []seen
		if err := s.Fetch(t.Context(), []string{`o'id\`}, collect(&got)); err != nil || len(got) != 1 {
			t.Errorf("Fetch: %v, %v", got, err)
		}
		days, err := s.Days(t.Context(), minMicros, maxMicros)
		if err != nil || len(days) != 1 || days[0].Day != day(t, "2024-01-01") {
			t.Errorf("Days: %v, %v", days, err)
		}
	})
}

func TestNowIsTheClockOfAPrimary(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	s := db.open("nodestore_node")
	now, err := s.Now(t.Context())
	if err != nil || now < day(t, "2024-01-01").Start() {
		t.Errorf("%d, %v", now, err)
	}
	if r, err := s.Replay(t.Context()); err != nil || r != (Replay{Clock: r.Clock}) || r.Clock < now {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTimeoutsOfTheRoleAreLifted(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain)
		names := []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}
		if version := db.exec("show server_version_num")[0][0]; version >= "170000" {
			names = append(names, "transaction_timeout")
		}
		for _, name := range names {
			db.exec("do $$ begin execute format('alter database %I set " + name + " = 20', current_database()); end $$")
		}
		s := db.open("nodestore_node")
		if err := s.queryRow(t.Context(), "sleep", "select 1 from pg_sleep(0.2)"); err != nil {
			t.Error(err)
		}
	})
}
