package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// SQLSTATEs, from appendix A of PostgreSQL's manual.
const (
	codeInvalidPassword      = "28P01"
	codeInvalidAuthorization = "28000"
	codeNoSuchDatabase       = "3D000"
	codeTooManyConnections   = "53300"
	codeInsufficientRights   = "42501"
	codeUndefinedFunction    = "42883"
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeLockNotAvailable     = "55P03"
	codeQueryCanceled        = "57014"
	codeAdminShutdown        = "57P01"
	codeCrashShutdown        = "57P02"
	codeCannotConnectNow     = "57P03"
	codeDataCorrupted        = "XX001"
	codeIndexCorrupted       = "XX002"
	classConnection          = "08"
)

// failure is an error of the connection or the server, as opposed to one of a
// caller's function, which Retryable never judges.
type failure struct {
	what string
	err  error
}

func (f *failure) Error() string { return f.what + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Retryable reports whether the same call can succeed when it is made again: the
// connection broke or could not be made, the server is restarting or has no
// free connection, a standby cancelled the query, or a lock was not to be had.
// It is false for a cancelled context and for what a visit function returned.
func Retryable(err error) bool {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](f); ok {
		return retryableCode(pg.Code)
	}
	return isBroken(f)
}

func retryableCode(code string) bool {
	switch code {
	case codeSerializationFailure, codeDeadlock, codeLockNotAvailable, codeTooManyConnections,
		codeAdminShutdown, codeCrashShutdown, codeCannotConnectNow:
		return true
	}
	return strings.HasPrefix(code, classConnection)
}

// isBroken tells a transport that broke from answers that will not change:
// a certificate that is not trusted, a stream that cannot be parsed.
func isBroken(err error) bool {
	if isCertificate(err) {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed)
}

func isCertificate(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	op, network := errors.AsType[*net.OpError](err)
	refused := network && op.Op == "remote error" // crypto/tls: the server's alert
	return verification || authority || host || refused
}

// queryFailure wraps what a query returned. A nil err stays nil.
func queryFailure(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	f := &failure{what, err}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return hint.Add(f, queryRemedy(pg.Code))
	}
	return f
}

func queryRemedy(code string) string {
	switch code {
	case codeInsufficientRights:
		return "grant the role SELECT on the table (and USAGE on its schema); where row security is in force, use a role with BYPASSRLS"
	case codeQueryCanceled:
		return "if the role has a statement_timeout, lift it for this migration: ALTER ROLE name SET statement_timeout = 0"
	case codeSerializationFailure:
		return "on a standby, set hot_standby_feedback = on or raise max_standby_streaming_delay, or read from the primary"
	case codeDataCorrupted, codeIndexCorrupted:
		return "the table is damaged: find the rows with amcheck or pg_dump, and repair or delete them before going on"
	}
	return ""
}

// connectFailure shortens pgconn's list of every attempt to one line: the last
// attempt, which is the only one unless hosts or TLS modes are alternatives.
func connectFailure(ctx context.Context, config *pgconn.Config, err error) error {
	what := fmt.Sprintf("connect to PostgreSQL at %s as %q, database %q",
		net.JoinHostPort(config.Host, fmt.Sprint(config.Port)), config.User, config.Database)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	cause := lastCause(err)
	return hint.Add(&failure{what, cause}, connectRemedy(config, cause))
}

func lastCause(err error) error {
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = connect.Unwrap()
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		attempts := joined.Unwrap()
		err = attempts[len(attempts)-1]
	}
	// pgconn says the address twice more, and lists every kind of address that
	// a name has none of.
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	return err
}

func connectRemedy(config *pgconn.Config, err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return loginRemedy(config, pg.Code)
	}
	if isCertificate(err) {
		return "give the server's CA with sslrootcert=FILE and the host name that is in its certificate; sslmode=require encrypts without verifying"
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return "the server does not speak TLS: use sslmode=disable if the network in between is trusted"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("no address for %q: check the host's spelling, and that its name resolves on this machine (in a container, its network)", dns.Name)
	}
	return "check host and port, that the server is up and listens there, and that no firewall is in between; inside docker compose the host is the service's name"
}

func loginRemedy(config *pgconn.Config, code string) string {
	switch code {
	case codeInvalidPassword:
		return "check user and password; the password may come from the connection string, PGPASSWORD or ~/.pgpass"
	case codeInvalidAuthorization:
		return "the role or this machine may not log in this way: check the user, pg_hba.conf, and sslmode (a server may insist on TLS or a client certificate)"
	case codeNoSuchDatabase:
		return fmt.Sprintf("there is no database %q on this server: Sentry's is usually called postgres or sentry", config.Database)
	case codeTooManyConnections:
		return "the server has no connection free: read with fewer (--readers), or through pgbouncer"
	}
	return ""
}
