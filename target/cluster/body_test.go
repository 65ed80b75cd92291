package cluster

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// watched notes whether net/http hands over a body as wholeBodies wants it.
type watched struct {
	wholeBodies
	whole *int
}

func (w watched) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(memoryBody); ok {
			*w.whole++
		}
	}
	return w.wholeBodies.ReadFrom(r)
}

// Bodies of all sizes arrive, over one connection, and net/http hands them
// over as they are: another version of it might not.
func TestBodiesAreWrittenWhole(t *testing.T) {
	t.Parallel()
	var got []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body) // what is missing is missed below
	}))
	t.Cleanup(server.Close)
	whole, conns := 0, 0
	dial := writingWholeBodies(new(net.Dialer).DialContext)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conns++
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return watched{conn.(wholeBodies), &whole}, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	for _, size := range []int{1, 5000, 3 << 20, 8 << 20} {
		content := bytes.Repeat([]byte("a line\n"), size/7+1)[:size]
		request, err := newRequest(t.Context(), http.MethodPost, server.URL, content)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if !bytes.Equal(got, content) {
			t.Errorf("%d bytes arrived as %d, or as others", size, len(got))
		}
	}
	if whole != 4 || conns != 1 {
		t.Errorf("%d bodies were handed over whole, over %d connections; want 4 over one", whole, conns)
	}
}
