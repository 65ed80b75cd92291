package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// postgresEpoch is 2000-01-01 in microseconds since 1970: the zero of the
// binary form of timestamptz.
const postgresEpoch = 946684800000000

// Stream hands every node of [from, to) to visit,
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
		if err := s.nodes(ctx, "stream nodes", s.sql.within(part.from, part.to)+part.also, visit); err != nil {
			return err
		}
	}
	return nil
}

// rowQuery asks for rows.
type rowQuery struct {
	what  string // for errors
	more  string // a column beside id and timestamp, "null" for none
	where string
}

// rows hands over the rows that meet a condition.
func (s *Source) rows(ctx context.Context, q rowQuery, visit func(id []byte, micros int64, more []byte) error) error {
	return s.copyRows(ctx, q, `"timestamp"`, func(fields [][]byte) error {
		id, timestamp := fields[0], fields[1]
		if len(timestamp) != 8 {
			return fmt.Errorf("row with id %q: timestamp of %d bytes, want 8", id, len(timestamp))
		}
		micros := int64(binary.BigEndian.Uint64(timestamp))
		if micros == math.MaxInt64 || micros == math.MinInt64 {
			return fmt.Errorf("row with id %q: timestamp is infinite", id)
		}
		return visitError(visit(id, micros+postgresEpoch, fields[2]))
	})
}

// copyRows copies out rows in one statement. The errors of row are wrapped, but
// for those that visitError marks.
func (s *Source) copyRows(ctx context.Context, q rowQuery, timestamp string, row func([][]byte) error) error {
	return s.copyOut(ctx, q.what, fmt.Sprintf("%scopy (select %s, %s, %s from %s where %s) to stdout (format binary)",
		s.sql.settings, s.sql.id, timestamp, q.more, s.sql.relation, q.where), &copyParser{row: row})
}

func (s *Source) nodes(ctx context.Context, what, where string, visit func(node.Node) error) error {
	return s.rows(ctx, rowQuery{what, `"data"`, where}, func(id []byte, micros int64, data []byte) error {
		return visit(node.Node{ID: id, Data: data, Micros: micros})
	})
}

func (s *Source) keys(ctx context.Context, what, where string, visit func(id []byte, micros int64) error) error {
	return s.rows(ctx, rowQuery{what, "null", where}, func(id []byte, micros int64, _ []byte) error { return visit(id, micros) })
}

// Unbounded hands over the rows that no range has: their timestamp is infinity,
// -infinity, null, or outside the years 0001 to 9999. It comes as PostgreSQL
// writes it. A null id is nil.
func (s *Source) Unbounded(ctx context.Context, visit func(id []byte, timestamp string) error) error {
	if s.sql.only != nil {
		return nil
	}
	where := fmt.Sprintf(`"timestamp" < %s or "timestamp" >= %s or "timestamp" is null`,
		timestampLiteral(minMicros), timestampLiteral(maxMicros))
	return s.copyRows(ctx, rowQuery{"read rows with unbounded timestamps", "null", where}, `coalesce("timestamp"::text, 'null')`,
		func(fields [][]byte) error { return visitError(visit(fields[0], string(fields[1]))) })
}

// Entry is a row without its payload. ID is valid during the call that it is
// handed to, and nil if it is null.
type Entry struct {
	ID     []byte
	Micros int64
	Bytes  int64 // of data as the column has it; 0 for a view, which would have to compute it
}

// Entries hands over the rows of [from, to) in no
// particular order. Of a table's payloads it reads only their sizes.
func (s *Source) Entries(ctx context.Context, from, to int64, visit func(Entry) error) error {
	size := `octet_length("data")` // of a value in TOAST, this reads only the pointer
	if s.relation.Kind == View {
		size = "0"
	}
	return s.rows(ctx, rowQuery{"read ids and sizes", size, s.sql.within(from, to)}, func(id []byte, micros int64, size []byte) error {
		e := Entry{ID: id, Micros: micros}
		if size != nil { // null data has no size
			e.Bytes = int64(binary.BigEndian.Uint32(size))
		}
		return visit(e)
	})
}

// Sample hands at most limit nodes of [from, to) to visit, the first by
// timestamp. It wants TimestampIndexed: otherwise all rows of the range are sorted.
func (s *Source) Sample(ctx context.Context, span Slice, limit int, visit func(node.Node) error) error {
	return s.nodes(ctx, "sample nodes", fmt.Sprintf(`%s order by "timestamp" limit %d`, inRange(span.From, span.To), limit), visit)
}
