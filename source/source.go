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

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Source is one relation of one database. Its methods may be called by several
// goroutines; each call waits for one of the connections. Times are in
// microseconds since 1970.
type Source struct {
	*server
	inspected
}

// Open connects and inspects the relation. Its errors carry a remedy where one
// is known: an unreachable server, a refused login, a missing table or column
// or privilege, a server that is not PostgreSQL 12 or newer. What another table
// or database would mend is a *NoTableError, a *ColumnError or a *SiloError.
func Open(ctx context.Context, config Config) (*Source, error) {
	server, err := openServer(ctx, config)
	if err != nil {
		return nil, err
	}
	found, err := inspect(ctx, server, config.Table)
	if err != nil {
		server.pool.close()
		return nil, err
	}
	return &Source{server, found}, nil
}

// Only returns the same source as if it had only the rows of some slices, which are by
// time, each within a day. It shares the connections, so that it is not to be closed.
// Rows that are asked for by their ids are those of all.
func (s *Source) Only(some []Slice) *Source {
	of := *s
	of.sql.only = some
	return &of
}

// Close waits for the calls in progress and closes the connections.
func (s *Source) Close() { s.pool.close() }

// Relation tells what Open found.
func (s *Source) Relation() Relation { return s.relation }

// Origin tells which data this is, with the region as the operator named it.
func (s *Source) Origin(region string) node.Origin {
	origin := s.origin
	origin.Region = region
	return origin
}

// CheckSilo makes sure that the source is the nodestore of exactly one region,
// and that it can be told from every other (promise 9); else the error is a
// *SiloError. region is the name that the operator gave, or "". The Silo is
// returned with an error too, where it could be found out.
func (s *Source) CheckSilo(ctx context.Context, region string) (Silo, error) {
	silo, err := siloOf(ctx, s.server, s.relation.Schema)
	if err != nil {
		return Silo{}, err
	}
	return silo, silo.check(s.origin.System != "", region)
}
