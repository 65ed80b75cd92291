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

// permanent reports whether a connection will break the same way again: the
// server's certificate or protocol is the wrong one.
func permanent(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return untrusted || plain || hint.Of(err) != ""
}
