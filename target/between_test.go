package target

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// shortLived are connections that something in between closes after a while,
// whatever they carry at that moment.
type shortLived struct{ net.Listener }

func (s shortLived) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err == nil {
		time.AfterFunc(100*time.Millisecond, func() { _ = conn.Close() })
	}
	return conn, err
}

// goingAway answers each request with a GOAWAY, and resets every fifth stream.
func goingAway(next http.Handler) http.Handler {
	var seen atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1)%5 == 0 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Connection", "close")
		next.ServeHTTP(w, r)
	})
}

// way is what a proxy between here and a cluster is like.
type way struct {
	path, address string
	http2         bool
	listen        func(net.Listener) net.Listener
	handle        func(next http.Handler) http.Handler
}

// TestWhatStandsInBetween writes and reads through what the way to a cluster has.
func TestWhatStandsInBetween(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]way{
		"path prefix":           {path: "/search/api/", handle: func(next http.Handler) http.Handler { return http.StripPrefix("/search/api", next) }},
		"IPv6":                  {address: "[::1]:0"},
		"closed after a while":  {listen: func(l net.Listener) net.Listener { return shortLived{l} }},
		"HTTP/2":                {http2: true},
		"HTTP/2 that goes away": {http2: true, handle: goingAway},
	} {
		t.Run(name, func(t *testing.T) { oldest(t).writeBy(w) })
	}
}

// proxy starts what stands in between, and counts requests over HTTP/2.
func (b bed) proxy(w way, second *atomic.Int64) string {
	to, err := url.Parse(b.URL)
	if err != nil {
		b.T.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	forward.ErrorLog = log.New(io.Discard, "", 0)
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	var handler http.Handler = forward
	if w.handle != nil {
		handler = w.handle(forward)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		second.Add(int64(r.ProtoMajor / 2))
		handler.ServeHTTP(rw, r)
	}))
	server.Config.ErrorLog, server.EnableHTTP2 = forward.ErrorLog, w.http2
	if w.address != "" {
		server.Listener.Close()
		if server.Listener, err = net.Listen("tcp", w.address); err != nil {
			b.T.Fatal(err)
		}
	}
	if w.listen != nil {
		server.Listener = w.listen(server.Listener)
	}
	if b.T.Cleanup(server.Close); w.http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	return server.URL + w.path
}

func (b bed) writeBy(w way) {
	t := b.T
	var second atomic.Int64
	config := b.config()
	config.URLs, config.Insecure = []string{b.proxy(w, &second)}, true
	target := openTarget(t, config)
	index := b.loading(target)
	for k := range 20 {
		batch := NewBatch(1 << 10)
		batch.Reset(Versioned)
		for i := range 5 {
			appendTo(t, batch, node.Node{ID: fmt.Appendf(nil, "n%d-%d", k, i), Data: payload(t, "x", 300_000), Micros: noon})
		}
		got, err := target.Write(t.Context(), index, batch)
		wantFates(t, got, err, node.Fates{node.Stored: 5})
	}
	if sight := b.mustRead(target, "n19-4"); sight.Copies != 1 {
		t.Errorf("%+v", sight)
	}
	if n := second.Load(); (n > 0) != w.http2 {
		t.Errorf("%d requests over HTTP/2", n)
	}
}
