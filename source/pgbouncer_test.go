//go:build pgbouncer

package source

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// bouncer starts pgbouncer in transaction mode in front of a database, with one
// server connection for all clients, and returns the URL through it.
func bouncer(t *testing.T, db database, settings ...string) string {
	t.Helper()
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
%s
`, address.Hostname(), address.Port(), address.User.Username(), port, strings.Join(settings, "\n"))
	startBouncer(t, config)
	address.Host = fmt.Sprintf("127.0.0.1:%d", port)
	waitForPort(t, address.Host)
	return address.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func startBouncer(t *testing.T, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbouncer") // the user nobody may not enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	command := exec.Command("pgbouncer", path)
	command.Stdout, command.Stderr = &output, &output
	if os.Getuid() == 0 { // pgbouncer refuses to run as root
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start pgbouncer (Debian's package of that name): %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Log(output.String())
		}
	})
}

func waitForPort(t *testing.T, address string) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("pgbouncer does not listen on %s", address)
		}
	}
}

func TestPgbouncerInTransactionMode(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		for name, schema := range schemas() {
			db.exec("drop schema public cascade; create schema public;" + schema + edges)
			db.exec("analyze")
			through := db
			through.url = bouncer(t, db)
			t.Run(name, func(t *testing.T) {
				through.t = t
				s := through.open("nodestore_node")
				checkStream(t, s)
				checkKeys(t, s)
				checkFetch(t, s)
				checkUnbounded(t, s)
				checkDays(t, s)
				checkSlices(t, s)
				if c := condition(t, s); !c.Pooled {
					t.Errorf("the pooler is not seen: %+v", c)
				}
			})
		}
	})
}

func TestPgbouncerSharesItsConnection(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	db.url = bouncer(t, db)
	s, err := Open(t.Context(), Config{ConnString: db.url, Table: "nodestore_node", Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { countRows(t, s); return nil })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if db.conn, err = connectPlain(t.Context(), db.url); err != nil {
		t.Fatal(err)
	}
	defer db.conn.Close(t.Context())
	settings := db.exec("select current_setting('transaction_read_only'), current_setting('enable_seqscan'), current_setting('row_security')")
	if fmt.Sprint(settings) != "[[off on on]]" {
		t.Errorf("settings leaked into the session: %v", settings)
	}
}

// What pgbouncer ends because it takes too long is read in smaller parts, and
// what it refuses since it is full is asked for again.
func TestPgbouncersOwnLimits(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	for name, test := range map[string]struct {
		settings string
		class    class
	}{
		"query_timeout":   {"query_timeout = 1", tooLong},
		"max_client_conn": {"max_client_conn = 0", full},
	} {
		t.Run(name, func(t *testing.T) {
			config, _, err := parse(bouncer(t, db, test.settings))
			if err != nil {
				t.Fatal(err)
			}
			s := &server{pool: newPool(config, 1, nil), prologue: prologue}
			defer s.pool.close()
			_, err = s.query(t.Context(), "sleep", "select pg_sleep(20)")
			if classOf(err) != test.class {
				t.Errorf("class %d: %v", classOf(err), err)
			}
		})
	}
}

// A pooler that ends what takes a second, which it says in the middle of a
// message of the server, gets parts that take less.
func TestWhatTakesTooLongIsAskedInParts(t *testing.T) {
	db := newest(t)
	db.exec(`create table t (id text, "timestamp" timestamptz); create index on t ("timestamp");
		insert into t select lpad(i::text, 700, '0'), timestamptz '2024-01-01 00:00+00' + i * interval '1 minute' from generate_series(1, 300) i;
		create view nodestore_node as select id, repeat('x', 20000) as data, "timestamp" from t where pg_sleep(0.005)::text is not null`)
	db.url = bouncer(t, db, "query_timeout = 1")
	s := db.open("nodestore_node")
	d := day(t, "2024-01-01")
	if err := s.Stream(t.Context(), d.Start(), d.End(), func(node.Node) error { return nil }); !TooLong(err) {
		t.Errorf("as a whole: %v", err)
	}
	h, apart := hear()
	if err := s.StreamApart(t.Context(), Slice{From: d.Start(), To: d.End()}, apart); err != nil {
		t.Error(err)
	}
	h.check(t, 300, 0, "")
	if rows, err := s.Count(t.Context(), d.Start(), d.End()); err != nil || rows != 300 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if minutes, err := s.Moments(t.Context(), d.Start(), d.End()); err != nil || len(minutes) != 300 {
		t.Errorf("%d minutes, %v", len(minutes), err)
	}
	keys := map[string]bool{}
	if err := s.Keys(t.Context(), d.Start(), d.End(), func(id []byte, _ int64) error { keys[string(id)] = true; return nil }); err != nil || len(keys) != 300 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}
