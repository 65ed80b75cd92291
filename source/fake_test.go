package source

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// fakeServer plays servers that a test cannot have. For each connection it runs
// script after the client's startup message.
func fakeServer(t *testing.T, config *tls.Config, script func(*pgproto3.Backend)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn, config, script) })
		}
	})
	return listener.Addr().String()
}

// serve ignores errors: clients of these tests leave in the middle.
func serve(conn net.Conn, config *tls.Config, script func(*pgproto3.Backend)) {
	defer conn.Close()
	backend := pgproto3.NewBackend(conn, conn)
	message, err := backend.ReceiveStartupMessage()
	if err != nil {
		return
	}
	if _, ok := message.(*pgproto3.SSLRequest); ok {
		if _, err := conn.Write([]byte("S")); err != nil {
			return
		}
		secure := tls.Server(conn, config)
		backend = pgproto3.NewBackend(secure, secure)
		if _, err := backend.ReceiveStartupMessage(); err != nil {
			return
		}
	}
	script(backend)
	_ = backend.Flush()
}

func refuse(code string) func(*pgproto3.Backend) {
	return func(b *pgproto3.Backend) {
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "refused"})
	}
}

// answerVersion logs the client in and answers its first query.
func answerVersion(version, number string) func(*pgproto3.Backend) {
	return func(b *pgproto3.Backend) {
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if err := b.Flush(); err != nil {
			return
		}
		if _, err := b.Receive(); err != nil {
			return
		}
		b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a")}, {Name: []byte("b")}}})
		b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(version), []byte(number)}})
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
}

func TestOpenExplainsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	tests := []struct {
		name, sslmode, want, remedy string
		retryable                   bool
		script                      func(*pgproto3.Backend)
	}{
		{"wrong password", "disable", "SQLSTATE 28P01", "PGPASSWORD", false, refuse("28P01")},
		{"not allowed", "disable", "SQLSTATE 28000", "pg_hba.conf", false, refuse("28000")},
		{"full", "disable", "SQLSTATE 53300", "", true, refuse("53300")},
		{"starting", "disable", "SQLSTATE 57P03", "", true, refuse("57P03")},
		{"hangs up", "disable", "EOF", "check host and port", true, func(*pgproto3.Backend) {}},
		{"unknown CA", "verify-full", "certificate", "sslrootcert", false, refuse("XX000")},
		{"CockroachDB", "disable", "CockroachDB", "that Sentry uses", false, answerVersion("CockroachDB CCL v23.1", "130000")},
		{"too old", "disable", "not PostgreSQL 12 or newer", "upgraded", false, answerVersion("PostgreSQL 11.22", "110022")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			address := fakeServer(t, certified.TLS, test.script)
			s, err := Open(t.Context(), Config{
				ConnString: fmt.Sprintf("postgres://u:sesame-4711@%s/db?sslmode=%s", address, test.sslmode), Table: "nodestore_node",
			})
			if err == nil {
				s.Close()
			}
			checkError(t, err, test.want, test.remedy)
			if Retryable(err) != test.retryable {
				t.Errorf("%v: want retryable %v", err, test.retryable)
			}
		})
	}
}
