package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// oldestServer is the first version that has date_trunc with a time zone; older
// ones get no fixes any more.
const oldestServer = 120000

// prologue makes the implicit transaction of a simple-protocol message read
// only (promise 6) and its answers independent of the role's settings, whose
// timeouts are lifted. Row security is switched off so that a policy is an
// error instead of rows that are silently missing (promise 1).
const prologue = `set transaction isolation level read committed, read only;
set local statement_timeout = 0;
set local lock_timeout = '10s';
set local row_security = off;
set local timezone = 'UTC';
set local datestyle = 'ISO';
set local quote_all_identifiers = off;
`

// firstPrologue is for a server that may be another product, which refuses parts
// of that. Only isolation and access are set: a role's default may be one that a standby
// does not have.
const firstPrologue = "set transaction isolation level read committed, read only; "

// prologue17 is for the servers that have this timeout.
const prologue17 = "set local transaction_timeout = 0;\n"

// queryTries is how often a question is asked while the connection breaks or
// the server starts again: for about half a minute.
const queryTries = 8

// Config says which relation to read and over how many connections.
type Config struct {
	ConnString  string // a URL or a DSN; what it leaves out comes from libpq's PG* variables, service and password files
	Table       string // as in SQL: perhaps with a schema, perhaps quoted
	Connections int    // at most so many at once; less than 1 counts as 1

	// Warn is told which parameters are ignored, and once when the server gives
	// fewer Connections: what there are is used, and the others are tried again
	// from time to time. May be nil.
	Warn func(string)
}

// server is PostgreSQL, which is asked questions. It knows nothing of nodes.
type server struct {
	pool     *pool
	prologue string
	floor    atomic.Pointer[string] // a position of WAL that the server has to have replayed; nil: none
	version  int                    // server_version_num; 0: it was not reached yet
	text     string                 // version()
}

func openServer(ctx context.Context, config Config) (*server, error) {
	parsed, ignored, err := parse(config.ConnString)
	if err != nil {
		return nil, err
	}
	if len(ignored) > 0 && config.Warn != nil {
		config.Warn("parameters of the connection string that are ignored: " + strings.Join(ignored, ", "))
	}
	s := &server{pool: newPool(parsed, max(config.Connections, 1), config.Warn), prologue: firstPrologue}
	if err := s.meet(ctx); err != nil {
		s.pool.close()
		return nil, err
	}
	return s, nil
}

func (s *server) meet(ctx context.Context) error {
	const what = "read server version"
	var text, number string
	if err := s.queryRow(ctx, what, "select version(), current_setting('server_version_num')", &text, &number); err != nil {
		return err
	}
	version, err := strconv.Atoi(number)
	if err != nil || !strings.HasPrefix(text, "PostgreSQL") || version < oldestServer {
		return hint.Add(fmt.Errorf("%s: %.60q is not PostgreSQL 12 or newer", what, text),
			"connect to the PostgreSQL server that Sentry uses; a server older than 12 has to be upgraded first")
	}
	s.version, s.text, s.prologue = version, text, prologue
	if version >= 170000 {
		s.prologue += prologue17
	}
	return nil
}

// transaction is how each message to the server begins.
func (s *server) transaction() string {
	floor := s.floor.Load()
	if floor == nil {
		return s.prologue
	}
	return s.prologue + fmt.Sprintf(`do $$ begin if pg_is_in_recovery() and pg_last_wal_replay_lsn() < %s then
	raise exception 'this standby has not replayed yet what another server had' using errcode = '40001'; end if; end $$;
`, textLiteral(*floor))
}

// exec sends one message, and returns the rows of each SELECT in it, a null as
// "". process is the server's process that was named when the connection was
// made. what names the operation in errors.
func (s *server) exec(ctx context.Context, what, message string) (all [][][]string, process uint32, err error) {
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer s.pool.release(conn)
	results, err := conn.Exec(ctx, message).ReadAll()
	if err != nil {
		return nil, 0, queryFailure(ctx, what, saidLast(conn, err))
	}
	for _, result := range results {
		if tag := result.CommandTag.String(); tag != "SET" && tag != "DO" {
			all = append(all, textRows(result.Rows))
		}
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("%s: the server did not answer", what)
	}
	return all, conn.PID(), nil
}

// query asks until there is an answer.
func (s *server) query(ctx context.Context, what, sql string) (results [][][]string, err error) {
	err = s.patiently(ctx, func() error {
		results, _, err = s.exec(ctx, what, s.transaction()+sql)
		return err
	})
	return results, err
}

// queryEach scans each row that the last statement yields, and then calls row.
func (s *server) queryEach(ctx context.Context, what, sql string, row func() error, into ...any) error {
	results, err := s.query(ctx, what, sql)
	if err != nil {
		return err
	}
	for _, fields := range results[len(results)-1] {
		if err := scan(what, fields, into...); err != nil {
			return err
		}
		if err := row(); err != nil {
			return err
		}
	}
	return nil
}

// queryRow scans the one row that the last statement yields.
func (s *server) queryRow(ctx context.Context, what, sql string, into ...any) error {
	rows := 0
	err := s.queryEach(ctx, what, sql, func() error { rows++; return nil }, into...)
	if err == nil && rows != 1 {
		return fmt.Errorf("%s: the server did not answer with one row", what)
	}
	return err
}

// patiently tries something that can be repeated, once until a server has told
// its version: who mistyped an address should not wait.
func (s *server) patiently(ctx context.Context, attempt func() error) error {
	for try := 1; ; try++ {
		err := attempt()
		if err == nil || s.version == 0 || try == queryTries || !Retryable(err) {
			return err
		}
		timer := time.NewTimer(100 * time.Millisecond << try)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// visitorError marks what a caller's function returned: not an error of the source.
type visitorError struct{ error }

func visitError(err error) error {
	if err == nil {
		return nil
	}
	return visitorError{err}
}

// copyOut runs SQL that ends with a binary COPY to rows. The errors that rows
// gives are wrapped, those that visitError marked are returned as they were.
func (s *server) copyOut(ctx context.Context, what, sql string, rows *copyParser) error {
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.pool.release(conn)
	_, err = conn.CopyTo(ctx, rows, s.transaction()+sql)
	if err == nil {
		err = rows.finish()
	}
	if visitor, ok := errors.AsType[visitorError](err); ok {
		return visitor.error
	}
	return queryFailure(ctx, what, saidLast(conn, err))
}
