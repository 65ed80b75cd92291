package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// postgresEpoch is 2000-01-01 in microseconds since 1970: the zero of the
// binary form of timestamptz.
const postgresEpoch = 946684800000000

// Stream hands every node of [from, to), microseconds since 1970, to visit,
// in no particular order. The node's slices are valid during the call; those of
// a null id and of null data, which a view can have, are nil. An
// error of visit stops the copy and is returned as it is. After any other
// error, nodes may have been visited already: if it is Retryable, the same call
// can succeed, if it is Damaged or TooLong, StreamApart.
func (s *Source) Stream(ctx context.Context, from, to int64, visit func(node.Node) error) error {
	return s.StreamSlice(ctx, Slice{From: from, To: to}, visit)
}

// StreamSlice is Stream for what Slices returned.
func (s *Source) StreamSlice(ctx context.Context, span Slice, visit func(node.Node) error) error {
	for _, part := range s.parts(span) {
		if err := s.nodes(ctx, "stream nodes", inRange(part.from, part.to)+part.also, visit); err != nil {
			return err
		}
	}
	return nil
}

// Fetch hands the nodes with the given ids to visit. Ids without a row are
// skipped; one id can have several rows. See Locate for what its silence is worth.
func (s *Source) Fetch(ctx context.Context, ids []string, visit func(node.Node) error) error {
	list := s.idList(ids)
	if list == "" {
		return nil
	}
	return s.nodes(ctx, "fetch nodes", fmt.Sprintf(`"id" in (%s) and %s`, list, inRange(minMicros, maxMicros)), visit)
}

// FetchBetween is Fetch as LocateBetween looks.
func (s *Source) FetchBetween(ctx context.Context, ids []string, from, to int64, visit func(node.Node) error) error {
	list := s.idList(ids)
	if list == "" {
		return nil
	}
	return s.nodes(ctx, "fetch nodes", s.among(list, from, to), visit)
}

// Keys is Stream without the data, and without the rows of which the server
// cannot read that much; if there are some, others can come twice.
func (s *Source) Keys(ctx context.Context, from, to int64, visit func(id []byte, micros int64) error) error {
	err := s.keys(ctx, "read keys", inRange(from, to), visit)
	if !divisible(err) {
		return err
	}
	return s.EntriesApart(ctx, Slice{From: from, To: to},
		func(e Entry) error { return visit(e.ID, e.Micros) }, func(Bad) error { return nil })
}

func (s *Source) keys(ctx context.Context, what, where string, visit func(id []byte, micros int64) error) error {
	return s.copyOut(ctx, copyQuery{
		what: what, columns: s.sql.id + `, "timestamp"`, where: where, fields: 2,
		row: func(fields [][]byte) error {
			micros, err := rowMicros(fields[0], fields[1])
			if err != nil {
				return err
			}
			return visitError(visit(fields[0], micros))
		},
	})
}

// Unbounded hands over the rows that no range has: their timestamp is infinity,
// -infinity, null, or outside the years 0001 to 9999. It comes as PostgreSQL
// writes it. A null id is nil.
func (s *Source) Unbounded(ctx context.Context, visit func(id []byte, timestamp string) error) error {
	where := fmt.Sprintf(`"timestamp" < %s or "timestamp" >= %s or "timestamp" is null`,
		timestampLiteral(minMicros), timestampLiteral(maxMicros))
	return s.copyOut(ctx, copyQuery{
		what: "read rows with unbounded timestamps", where: where, fields: 2,
		columns: s.sql.id + `, coalesce("timestamp"::text, 'null')`,
		row: func(fields [][]byte) error {
			return visitError(visit(fields[0], string(fields[1])))
		},
	})
}

func (s *Source) nodes(ctx context.Context, what, where string, visit func(node.Node) error) error {
	return s.copyOut(ctx, copyQuery{
		what: what, columns: s.sql.id + `, "data", "timestamp"`, where: where, fields: 3,
		row: func(fields [][]byte) error {
			micros, err := rowMicros(fields[0], fields[2])
			if err != nil {
				return err
			}
			return visitError(visit(node.Node{ID: fields[0], Data: fields[1], Micros: micros}))
		},
	})
}

func rowMicros(id, timestamp []byte) (int64, error) {
	if len(timestamp) != 8 {
		return 0, fmt.Errorf("row with id %q: timestamp of %d bytes, want 8", id, len(timestamp))
	}
	micros := int64(binary.BigEndian.Uint64(timestamp))
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return 0, fmt.Errorf("row with id %q: timestamp is infinite", id)
	}
	return micros + postgresEpoch, nil
}

// copyQuery is one COPY of columns of the relation's rows.
type copyQuery struct {
	what    string // for errors
	columns string
	where   string
	fields  int
	row     func([][]byte) error // its own errors are wrapped, visitor errors are not
}

// visitorError marks what a caller's function returned: not an error of the source.
type visitorError struct{ error }

func visitError(err error) error {
	if err == nil {
		return nil
	}
	return visitorError{err}
}

func (s *Source) copyOut(ctx context.Context, q copyQuery) error {
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.pool.release(conn)
	parser := &copyParser{fields: q.fields, row: q.row}
	sql := fmt.Sprintf("%s%scopy (select %s from %s where %s) to stdout (format binary)",
		s.transaction(), s.sql.settings, q.columns, s.sql.relation, q.where)
	_, err = conn.CopyTo(ctx, parser, sql)
	if err == nil {
		err = parser.finish()
	}
	if visitor, ok := errors.AsType[visitorError](err); ok {
		return visitor.error
	}
	return queryFailure(ctx, q.what, saidLast(conn, err))
}
