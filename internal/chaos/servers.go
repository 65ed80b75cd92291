package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// queueSize is that of OpenSearch's write queue: a few clients fill it.
const queueSize = 8

// servers are PostgreSQL and OpenSearch, each with a proxy that the tool uses.
type servers struct {
	postgres   *testbed.Postgres
	standby    *testbed.Postgres // of postgres; it waits for no query
	primary    atomic.Value      // HOST:PORT of postgres, string
	openSearch *testbed.OpenSearch
	line       *lineGate
	http       *httpGate
}

func startServers(ctx context.Context) (s *servers, err error) {
	s = &servers{http: newHTTPGate()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.line, err = newLineGate(); err != nil {
		return s, err
	}
	if s.postgres, err = testbed.StartPostgres(ctx, testbed.PostgresOptions{}); err != nil {
		return s, err
	}
	if s.standby, err = testbed.StartPostgres(ctx, testbed.PostgresOptions{
		StandbyOf: s.postgres, Settings: map[string]string{"max_standby_streaming_delay": "0"},
	}); err != nil {
		return s, err
	}
	if s.openSearch, err = testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Quick: true, Settings: map[string]string{
		"thread_pool.write.size": "1", "thread_pool.write.queue_size": strconv.Itoa(queueSize),
	}}); err != nil {
		return s, err
	}
	return s, s.connect()
}

// connect points the proxies at where the servers are now.
func (s *servers) connect() error {
	at, err := url.Parse(s.postgres.URL())
	if err != nil {
		return err
	}
	s.primary.Store(at.Host)
	s.line.backend.Store(at.Host)
	s.http.backend.Store(s.openSearch.URL())
	return nil
}

func (s *servers) stop() (err error) {
	s.http.close()
	if s.line != nil {
		s.line.close()
	}
	for _, one := range []*testbed.Postgres{s.standby, s.postgres} {
		if one != nil {
			err = errors.Join(err, one.Stop())
		}
	}
	if s.openSearch != nil {
		err = errors.Join(err, s.openSearch.Stop())
	}
	return err
}

// direct is the URL of a database, not through the proxy.
func (s *servers) direct(database string) string {
	return s.database(s.primary.Load().(string), database)
}

// proxied is the URL of a database as the tool gets it.
func (s *servers) proxied(database string) string {
	return s.database(s.line.listener.Addr().String(), database)
}

func (s *servers) database(host, name string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", host, name)
}

// server is either of them.
type server interface {
	PID() int
	Restart(ctx context.Context) error
}

func (s *servers) restart(ctx context.Context, one server) (bool, error) {
	return true, errors.Join(one.Restart(ctx), s.connect())
}

// crash ends a server at once and starts it again. PostgreSQL's children would
// outlive a SIGKILL of their parent; SIGQUIT has them all end without a
// checkpoint.
func (s *servers) crash(ctx context.Context, one server, signal syscall.Signal) (bool, error) {
	_ = syscall.Kill(one.PID(), signal) // it is there: nobody else ends it
	return s.restart(ctx, one)
}

// freeze stops a process and its children for a while.
func freeze(parent int, d time.Duration) (bool, error) {
	family := append(children(parent), parent)
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // a backend may have ended meanwhile
	}
	time.Sleep(d)
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	return true, nil
}

// children are the processes that pid has started, as /proc tells.
func children(pid int) (found []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // errs on a malformed pattern only
	for _, name := range stats {
		content, _ := os.ReadFile(name) // one that has ended meanwhile is not a child
		_, rest, _ := strings.Cut(string(content), ") ")
		fields := strings.Fields(rest)
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found
}
