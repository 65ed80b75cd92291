// Package source reads Sentry's nodestore_node out of PostgreSQL: what the
// relation is, which days it has and how big they are, and the nodes of a time
// range as one binary COPY.
//
// It keeps promise 6 (the source is only read): every query travels as one
// simple-protocol message that sets its own implicit transaction read only, so
// a transaction ends with its answer, none is ever idle, nothing needs session
// state, and pgbouncer in transaction mode is as good as a direct connection.
// It keeps promise 10 too: no error holds a payload or a password.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

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

// Source is one relation of one database. Its methods may be called by several
// goroutines; each call waits for one of the connections.
type Source struct {
	pool     *pool
	relation Relation
	identity Identity
	sql      statements
	prologue string
	floor    atomic.Pointer[string] // a position of WAL that the server has to have replayed; nil: none
	opened   bool
}

// Open connects and inspects the relation. Its errors carry a remedy where one
// is known: an unreachable server, a refused login, a missing table or column
// or privilege, a server that is not PostgreSQL 12 or newer.
func Open(ctx context.Context, config Config) (*Source, error) {
	parsed, ignored, err := parse(config.ConnString)
	if err != nil {
		return nil, err
	}
	if len(ignored) > 0 && config.Warn != nil {
		config.Warn("parameters of the connection string that are ignored: " + strings.Join(ignored, ", "))
	}
	s := &Source{pool: newPool(parsed, max(config.Connections, 1), config.Warn), prologue: prologue}
	if err := s.inspect(ctx, config.Table); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close waits for the calls in progress and closes the connections.
func (s *Source) Close() { s.pool.close() }

// Relation tells what Open found.
func (s *Source) Relation() Relation { return s.relation }

// Identity tells which data this is.
func (s *Source) Identity() Identity { return s.identity }

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

// prologue17 is for the servers that have this timeout.
const prologue17 = "set local transaction_timeout = 0;\n"

// queryTries is how often a question is asked while the connection breaks or
// the server starts again: for about half a minute.
const queryTries = 8

// query asks until there is an answer.
func (s *Source) query(ctx context.Context, what, sql string) (results [][][]string, err error) {
	err = s.patiently(ctx, func() error {
		results, err = s.ask(ctx, what, sql)
		return err
	})
	return results, err
}

// patiently tries something that can be repeated, once until a server has told
// its version: who mistyped an address should not wait.
func (s *Source) patiently(ctx context.Context, attempt func() error) error {
	for try := 1; ; try++ {
		err := attempt()
		if err == nil || !s.opened || try == queryTries || !Retryable(err) {
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

// ask runs SQL of one or more statements and returns the rows of each
// SELECT, a null as "". what names the operation in errors.
func (s *Source) ask(ctx context.Context, what, sql string) ([][][]string, error) {
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer s.pool.release(conn)
	results, err := conn.Exec(ctx, s.transaction()+sql).ReadAll()
	if err != nil {
		return nil, queryFailure(ctx, what, saidLast(conn, err))
	}
	var all [][][]string
	for _, result := range results {
		if tag := result.CommandTag.String(); tag != "SET" && tag != "DO" {
			all = append(all, textRows(result.Rows))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: the server did not answer", what)
	}
	return all, nil
}

// queryRow runs SQL whose last statement yields exactly one row.
func (s *Source) queryRow(ctx context.Context, what, sql string) ([]string, error) {
	results, err := s.query(ctx, what, sql)
	if err != nil {
		return nil, err
	}
	if len(results[len(results)-1]) != 1 {
		return nil, fmt.Errorf("%s: the server did not answer with one row", what)
	}
	return results[len(results)-1][0], nil
}

func textRows(raw [][][]byte) [][]string {
	rows := make([][]string, len(raw))
	for i, fields := range raw {
		rows[i] = make([]string, len(fields))
		for j, field := range fields {
			rows[i][j] = string(field)
		}
	}
	return rows
}

func parseFailure(err error) error {
	return hint.Add(fmt.Errorf("parse connection string: %s", parseReason(err)),
		"give postgres://user@host:5432/database?sslmode=require or host=... dbname=... user=...; escape special characters of a password as %XX, or leave it to PGPASSWORD or ~/.pgpass")
}

// parseReason keeps only the constant part of pgconn's error, "cannot parse
// `string`: reason (cause)": the string has its password masked on a
// best-effort basis, and most causes repeat parts of it (promise 10).
func parseReason(err error) string {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); !ok {
		return "it is not understood"
	}
	reason := err.Error()
	if cause := errors.Unwrap(err); cause != nil {
		reason = strings.TrimSuffix(reason, " ("+cause.Error()+")")
	}
	reason = reason[strings.LastIndex(reason, "`: ")+len("`: "):]
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		reason += ": " + file.Error()
	}
	return reason
}
