package target

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// dialTimeout is when a server that neither accepts nor refuses counts as gone.
// A lost packet is sent again after one second and after three. The library
// dials seven times, so a cluster that is silent is told of after 45 s.
const dialTimeout = 5 * time.Second

// dial connects for all requests.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return d.DialContext(ctx, network, address)
}

// broken is an error after which the library repeats an admin call, by another
// URL if there is one: it does so for errors of package net that are no
// timeouts. A server that is gone can be a timeout of the dial, and one that
// accepts and closes is an error of net/http's own.
type broken struct{ error }

// Timeout is part of net.Error.
func (broken) Timeout() bool { return false }

// Temporary is part of net.Error.
func (broken) Temporary() bool { return false }

// Unwrap is for errors.Is.
func (b broken) Unwrap() error { return b.error }

// repeatable makes a broken connection's error one that the library repeats the
// call for, unless the time for an answer is over, or the server's certificate
// or protocol is the wrong one, which it will be again.
func repeatable(ctx context.Context, err error) error {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	if ctx.Err() != nil || untrusted || plain || hint.Of(err) != "" {
		return err
	}
	return broken{err}
}
