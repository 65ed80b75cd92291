package main

import (
	"bytes"
	"context"
	"hash/maphash"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// cut is where an HTTP exchange breaks off.
type cut uint8

const (
	whole        cut = iota
	beforeServer     // the server never sees the request
	beforeAnswer     // the server has acted, the tool hears nothing
	inAnswer         // the server has acted, the tool gets half of the answer
)

// httpFault is what happens to one request. Unlike those of internal/faulty,
// faults here come at any time, and the server behind them moves.
type httpFault struct {
	name   string
	bulk   bool // only a bulk request meets it
	create bool // only a request that creates an index meets it
	cut    cut
	reset  bool // the connection is reset instead of closed
	twice  bool // the server gets the request a second time, as from a proxy that repeats
	delay  time.Duration
	status int // if not 0, the answer, and the server never sees the request
	times  int // so many requests meet it, unless another fault comes first
	body   string
}

// httpGate is a proxy in front of OpenSearch.
type httpGate struct {
	server  *httptest.Server
	backend atomic.Value // URL, string
	client  http.Client
	ctx     context.Context
	stop    context.CancelFunc

	refusals atomic.Int64 // answers of the server's own with a full queue

	mu     sync.Mutex
	armed  *httpFault
	met    chan struct{}
	seed   maphash.Seed
	known  map[uint64]bool // documents that the tool has sent, with their actions
	bytes  int64           // of all bulk requests
	resent int64           // of them, documents that had been sent before
}

func newHTTPGate() *httpGate {
	g := &httpGate{seed: maphash.MakeSeed(), known: make(map[uint64]bool)}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.client.Transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	g.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	g.server = httptest.NewServer(g)
	return g
}

func (g *httpGate) close() {
	g.stop()
	g.server.CloseClientConnections()
	g.server.Close()
	g.client.CloseIdleConnections()
}

// arm lets the next request meet a fault, and is false if none came in time.
func (g *httpGate) arm(f httpFault, patience time.Duration) bool {
	met := make(chan struct{})
	g.mu.Lock()
	g.armed, g.met = &f, met
	g.mu.Unlock()
	select {
	case <-met:
		return true
	case <-time.After(patience):
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	missed := g.met == met
	g.armed, g.met = nil, nil
	return !missed
}

// disarm lets everything pass again.
func (g *httpGate) disarm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = nil
}

func (g *httpGate) take(r *http.Request) (f httpFault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	creates := r.Method == http.MethodPut && strings.Count(r.URL.Path, "/") == 1
	if g.armed == nil || g.armed.bulk && !strings.HasSuffix(r.URL.Path, "/_bulk") || g.armed.create && !creates {
		return f
	}
	f = *g.armed
	if g.met != nil {
		close(g.met)
		g.met = nil
	}
	if g.armed.times--; g.armed.times <= 0 {
		g.armed = nil
	}
	return f
}

// ServeHTTP lets one request meet its fault.
func (g *httpGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := g.take(r)
	if f.cut == beforeServer {
		abort(w, f)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		abort(w, f)
	}
	g.count(r, body)
	g.wait(f.delay)
	// No single node is too large for any proxy here: it would be rejected.
	if f.status != 0 && (f.status != http.StatusRequestEntityTooLarge || bytes.Count(body, []byte{'\n'}) > 2) {
		answer(w, f)
		return
	}
	if f.twice {
		_, _, _, _ = g.ask(r, body) // as a proxy that did not like the first answer
	}
	status, header, content, err := g.ask(r, body)
	if err != nil || f.cut == beforeAnswer {
		abort(w, f)
	}
	if bytes.Contains(content, []byte("rejected_execution_exception")) {
		g.refusals.Add(1)
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	if f.cut == inAnswer {
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		abort(w, f)
	}
	_, _ = w.Write(content) // who has gone needs no answer
}

// forget makes room: a new round has other ids.
func (g *httpGate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.known)
}

// sent are the bytes of all bulk requests, and of what was sent again.
func (g *httpGate) sent() (bytes, resent int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes, g.resent
}

func (g *httpGate) ask(r *http.Request, body []byte) (status int, header http.Header, content []byte, err error) {
	request, err := http.NewRequestWithContext(g.ctx, r.Method, g.backend.Load().(string)+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header = r.Header.Clone()
	got, err := g.client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer got.Body.Close()
	content, err = io.ReadAll(got.Body)
	return got.StatusCode, got.Header, content, err
}

// count looks which documents of a bulk request were sent before.
func (g *httpGate) count(r *http.Request, body []byte) {
	if !strings.HasSuffix(r.URL.Path, "/_bulk") {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += int64(len(body))
	for len(body) > 0 {
		action := bytes.IndexByte(body, '\n') + 1
		size := action + bytes.IndexByte(body[action:], '\n') + 1
		if size <= action {
			return
		}
		sum := maphash.Bytes(g.seed, body[:size])
		if g.known[sum] {
			g.resent += int64(size)
		}
		g.known[sum] = true
		body = body[size:]
	}
}

func (g *httpGate) wait(d time.Duration) {
	select {
	case <-g.ctx.Done():
	case <-time.After(d):
	}
}

func answer(w http.ResponseWriter, f httpFault) {
	kind := "application/json; charset=UTF-8"
	if strings.HasPrefix(f.body, "<") {
		kind = "text/html"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(f.status)
	_, _ = io.WriteString(w, f.body)
}

// abort ends a connection without an answer.
func abort(w http.ResponseWriter, f httpFault) {
	if f.reset {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			reset(conn)
		}
	}
	panic(http.ErrAbortHandler) // net/http's own way
}

// reset closes a connection so that the other side sees it as reset.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// lineGate is a proxy in front of PostgreSQL.
type lineGate struct {
	listener net.Listener
	backend  atomic.Value // HOST:PORT, string
	done     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	open    map[net.Conn]bool
	stalled time.Time // until then nothing passes
	refused time.Time // until then no connection is taken
	left    int64     // bytes to the tool until its connection is cut, if met is not nil
	met     chan struct{}
}

func newLineGate() (*lineGate, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &lineGate{listener: listener, open: make(map[net.Conn]bool)}
	g.done.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			g.done.Go(func() { g.serve(client) })
		}
	})
	return g, nil
}

func (g *lineGate) close() {
	g.mu.Lock()
	g.closed, g.stalled = true, time.Time{}
	g.mu.Unlock()
	_ = g.listener.Close()
	g.cutAll(func(c net.Conn) { _ = c.Close() })
	g.done.Wait()
}

// cutAll ends all connections, and returns how many there were.
func (g *lineGate) cutAll(end func(net.Conn)) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.open {
		end(conn)
	}
	return len(g.open) / 2
}

// cutAfter cuts a connection after some bytes, and is false if so many did not
// pass in time.
func (g *lineGate) cutAfter(n int64, patience time.Duration) bool {
	met := make(chan struct{})
	g.mu.Lock()
	g.left, g.met = n, met
	g.mu.Unlock()
	select {
	case <-met:
		return true
	case <-time.After(patience):
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	missed := g.met == met
	g.met = nil
	return !missed
}

func (g *lineGate) serve(client net.Conn) {
	defer client.Close()
	g.mu.Lock()
	refused := time.Now().Before(g.refused)
	g.mu.Unlock()
	if refused {
		return
	}
	server, err := net.Dial("tcp", g.backend.Load().(string))
	if err != nil {
		return
	}
	defer server.Close()
	if !g.track(client, server) {
		return
	}
	defer g.forget(client, server)
	var upward sync.WaitGroup
	upward.Go(func() { g.copy(server, client, func(int) bool { return false }) })
	g.copy(client, server, g.spent)
	upward.Wait()
}

func (g *lineGate) track(both ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conn := range both {
		g.open[conn] = true
	}
	return !g.closed
}

func (g *lineGate) forget(both ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conn := range both {
		delete(g.open, conn)
	}
}

// spent reports whether the connection that gets n more bytes is to be cut.
func (g *lineGate) spent(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left -= int64(n)
	if g.met == nil || g.left > 0 {
		return false
	}
	close(g.met)
	g.met = nil
	return true
}

// copy copies one way until either side ends, and then ends both.
func (g *lineGate) copy(to, from net.Conn, spent func(int) bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		for g.holds() {
			time.Sleep(20 * time.Millisecond)
		}
		if spent(n) {
			n /= 2
			err = io.ErrUnexpectedEOF
		}
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (g *lineGate) holds() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.stalled)
}
