package source

import (
	"context"
	"encoding/binary"
)

// Entry is a row without its payload. ID is valid during the call that it is
// handed to, and nil if it is null.
type Entry struct {
	ID     []byte
	Micros int64
	Bytes  int64 // of data as the column has it; 0 for a view, which would have to compute it
}

// Entries hands over the rows of [from, to), microseconds since 1970, in no
// particular order. Of a table's payloads it reads only their sizes.
func (s *Source) Entries(ctx context.Context, from, to int64, visit func(Entry) error) error {
	size := `octet_length("data")` // of a value in TOAST, this reads only the pointer
	if s.relation.Kind == View {
		size = "0"
	}
	return s.copyOut(ctx, copyQuery{
		what: "read ids and sizes", where: inRange(from, to), fields: 3,
		columns: s.sql.id + `, "timestamp", ` + size,
		row: func(fields [][]byte) error {
			micros, err := rowMicros(fields[0], fields[1])
			if err != nil {
				return err
			}
			e := Entry{ID: fields[0], Micros: micros}
			if fields[2] != nil { // null data has no size
				e.Bytes = int64(binary.BigEndian.Uint32(fields[2]))
			}
			return visitError(visit(e))
		},
	})
}
