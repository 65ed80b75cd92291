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

// failure is an error of the connection or the server, as opposed to one of a
// caller's function, which no class is ever given to.
type failure struct {
	what string
	err  error
}

func (f *failure) Error() string { return f.what + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Retryable reports whether the same call can succeed when it is made again: the
// connection broke or could not be made, or the server's answer says so. It is
// false for a cancelled context and for what a visit function returned.
func Retryable(err error) bool { return classOf(err) == retryable || Full(err) }

// Full reports whether an error says that the server, or a pooler before it, has
// no connection free.
func Full(err error) bool { return classOf(err) == full }

// Damaged reports whether an error says that the server could not read a row
// that it has, or not give it: others may well be readable.
func Damaged(err error) bool { return classOf(err) == damaged }

// TooLong reports whether an error says that less at once could be read.
func TooLong(err error) bool { return classOf(err) == tooLong }

// divisible says that a part of what was asked for can be read.
func divisible(err error) bool { return Damaged(err) || TooLong(err) }

// brokenPage says that storage, and no expression of a view, keeps the server
// from reading a timestamp.
func brokenPage(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && Damaged(err) && !strings.HasPrefix(pg.Code, codeClassData)
}

// isRefused says that the server will not answer a question at all.
func isRefused(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok && classOf(err) == final
}

func classOf(err error) class {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return final
	}
	if pg, ok := errors.AsType[*pgconn.PgError](f); ok {
		return ruleFor(pg).class
	}
	if isBroken(f) || isUnmet(f) {
		return retryable
	}
	return final
}

// isUnmet says that no server that was named meets target_session_attrs, such
// as between a failover's two halves.
func isUnmet(err error) bool {
	for _, unmet := range []error{pgconn.ErrReadOnlyConnection, pgconn.ErrReadWriteConnection, pgconn.ErrPrimaryConnection, pgconn.ErrStandbyConnection} {
		if errors.Is(err, unmet) {
			return true
		}
	}
	return false
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
		if said := words(pg); said != pg.Message {
			f.err = &pgconn.PgError{Code: pg.Code, Severity: pg.Severity, Message: said}
		}
		return hint.Add(f, ruleFor(pg).remedy)
	}
	return f
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
	return hint.Add(&failure{what, cause}, connectRemedy(cause))
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

func connectRemedy(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return ruleFor(pg).remedy
	}
	if isUnmet(err) {
		return "none of the servers that were named is what target_session_attrs asks for: name another, or leave it out"
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
