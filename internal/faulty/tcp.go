package faulty

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Line is what happens to one TCP connection. The zero Line lets it live.
type Line struct {
	Refuse   bool  // closed at once, the server never hears of it
	CutAfter int64 // if not 0, closed after the client got this many bytes from the server
}

// TCPProxy stands in front of any TCP server, such as PostgreSQL.
type TCPProxy struct {
	listener net.Listener
	backend  string
	rule     func(k int) Line
	done     sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{} // both ends of the living connections
	seen int
	down bool
}

// NewTCPProxy starts a proxy for the server at backend, HOST:PORT, and stops
// it when the test ends. rule decides about the k-th connection, counted from 1;
// it is called by one connection at a time and must not call the proxy.
// PostgreSQL's clients open a connection more to cancel a query, which counts.
func NewTCPProxy(t testing.TB, backend string, rule func(k int) Line) *TCPProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for proxy of %s: %v", backend, err)
	}
	p := &TCPProxy{listener: listener, backend: backend, rule: rule, open: make(map[net.Conn]struct{})}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.Down()
		p.done.Wait()
	})
	return p
}

// Addr is the address that the proxy listens on, HOST:PORT.
func (p *TCPProxy) Addr() string { return p.listener.Addr().String() }

// Connections is the number of connections so far, refused ones included.
func (p *TCPProxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// Down cuts all connections and refuses new ones until Up, like a server that
// restarts.
func (p *TCPProxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for conn := range p.open {
		_ = conn.Close()
	}
}

// Up lets connections through again.
func (p *TCPProxy) Up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

func (p *TCPProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		line := p.decide()
		p.done.Go(func() { p.serve(client, line) })
	}
}

func (p *TCPProxy) decide() Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	return p.rule(p.seen)
}

func (p *TCPProxy) serve(client net.Conn, line Line) {
	defer client.Close()
	if line.Refuse || !p.track(client) {
		return
	}
	defer p.forget(client)
	server, err := net.Dial("tcp", p.backend)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.track(server) {
		return
	}
	defer p.forget(server)
	pipe(client, server, line.CutAfter)
}

// track makes Down reach conn. It is false if the proxy is down already.
func (p *TCPProxy) track(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	p.open[conn] = struct{}{}
	return true
}

func (p *TCPProxy) forget(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
}

// pipe copies both ways until both sides have ended, or until the client got
// cutAfter bytes, if that is not 0.
func pipe(client, server net.Conn, cutAfter int64) {
	var upward sync.WaitGroup
	upward.Go(func() {
		_, _ = io.Copy(server, client)
		closeWrite(server)
	})
	if err := copyUpTo(client, server, cutAfter); errors.Is(err, errCut) {
		_ = server.Close()
		_ = client.Close()
	}
	closeWrite(client)
	upward.Wait()
}

// copyUpTo copies to the end, or returns errCut after limit bytes.
func copyUpTo(to io.Writer, from io.Reader, limit int64) error {
	if limit == 0 {
		_, err := io.Copy(to, from)
		return err
	}
	if _, err := io.CopyN(to, from, limit); err != nil {
		return err
	}
	return errCut
}

// closeWrite tells the other side that nothing more comes; a connection that
// is broken already knows.
func closeWrite(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
