// Package cluster is the connection to an OpenSearch cluster and the questions
// that are asked of it: what an answer is, what is sent again, and what an
// answer that is none means. It knows nothing of Sentry, and keeps promise 13:
// an answer that is not whole does not count.
package cluster

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
)

// memoryBody is a request's body that lies in memory.
type memoryBody struct{ *bytes.Reader }

// Close is io.Closer.
func (memoryBody) Close() error { return nil }

// newRequest makes a request of a body that must not change until its end; nil
// is not a body.
func newRequest(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	if body == nil {
		return http.NewRequestWithContext(ctx, method, path, http.NoBody)
	}
	request, err := http.NewRequestWithContext(ctx, method, path, memoryBody{bytes.NewReader(body)})
	if err != nil {
		return nil, err
	}
	// What net/http finds out by itself only about readers that it knows.
	request.ContentLength = int64(len(body))
	request.GetBody = func() (io.ReadCloser, error) { return memoryBody{bytes.NewReader(body)}, nil }
	return request, nil
}

// wholeBodies writes a memoryBody in one call. net/http, which expects files,
// would copy it in pieces of 32 KiB: a twentieth of the CPU of a whole copy.
type wholeBodies struct{ *net.TCPConn }

// ReadFrom is io.ReaderFrom.
func (w wholeBodies) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(memoryBody); ok && int64(body.Len()) == limited.N {
			n, err := body.WriteTo(w.TCPConn)
			limited.N -= n
			return n, err
		}
	}
	return w.TCPConn.ReadFrom(r)
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func writingWholeBodies(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			return wholeBodies{tcp}, nil
		}
		return conn, err
	}
}
