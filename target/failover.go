package target

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
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

// throughProxy names the proxy of the environment that leads to a URL, or "".
func throughProxy(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return ""
	}
	return fmt.Sprintf(" through the proxy %s of HTTP_PROXY or HTTPS_PROXY", proxy.Host)
}

// wantsCertificate is how a server refuses a client's certificate, or its absence.
const wantsCertificate = "remote error: tls: "

// permanent reports whether a connection will break the same way again: a
// certificate or the protocol is the wrong one.
func permanent(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return untrusted || plain || hint.Of(err) != "" || strings.Contains(err.Error(), wantsCertificate)
}
