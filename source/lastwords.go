package source

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// maxLastWords is longer than what a pooler says before it hangs up.
const maxLastWords = 512

// wordsKey is where a connection's lastWords are in its custom data.
const wordsKey = "last words"

// lastWords remembers the last bytes that came over a connection. A pooler that
// ends a statement does so in the middle of a message of the server's, whose
// rest its own error seems to be.
type lastWords struct {
	io.Reader
	tail []byte
}

func (l *lastWords) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.tail = append(l.tail, p[max(n-maxLastWords, 0):n]...)
	l.tail = l.tail[:copy(l.tail, l.tail[max(len(l.tail)-maxLastWords, 0):])]
	return n, err
}

// saidLast returns the error that a connection ended with instead of err.
func saidLast(conn *pgconn.PgConn, err error) error {
	if words, ok := conn.CustomData()[wordsKey].(*lastWords); ok {
		return words.instead(err)
	}
	return err
}

// instead returns the error that was said last instead of err, which is what
// came of it: a connection that broke, or rows that cannot be parsed.
func (l *lastWords) instead(err error) error {
	if _, ok := errors.AsType[*pgconn.PgError](err); ok || err == nil {
		return err
	}
	for i := range max(len(l.tail)-4, 0) {
		if l.tail[i] != 'E' || int(binary.BigEndian.Uint32(l.tail[i+1:])) != len(l.tail)-i-1 {
			continue
		}
		var said pgproto3.ErrorResponse
		if said.Decode(l.tail[i+5:]) == nil && said.Code != "" {
			return pgconn.ErrorResponseToPgError(&said)
		}
	}
	return err
}
