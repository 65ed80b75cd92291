package migrate_test

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// lastBulk is a way to OpenSearch on which the server acts on the n-th bulk,
// and the answer is kept for as long as the connection lives.
func (w *world) lastBulk(n int64) (g *gate, acted chan struct{}) {
	acted = make(chan struct{})
	var bulks atomic.Int64
	return newGate(w.t, w.target, func(r request) passage {
		if !r.bulk() || bulks.Add(1) != n {
			return passage{}
		}
		return passage{acted: func() {
			close(acted)
			<-r.Context().Done()
		}}
	}), acted
}

// die has nobody listen any more and cuts what is under way, as when the
// process at a URL is gone.
func (g *gate) die() {
	_ = g.server.Listener.Close() // closed again with the server
	g.server.CloseClientConnections()
}

// TestOneOfTwoURLsDies takes one of two ways to the cluster away while nodes
// travel on it. Which one comes first does not matter: the library shuffles them.
func TestOneOfTwoURLsDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(60, 400, 3))
	gate, acted := w.lastBulk(4)
	c := w.start("--target", gate.server.URL+","+w.target)
	select {
	case <-acted:
	case <-c.ended:
		t.Fatalf("the way that should die was hardly used; standard error:\n%s", c.stderr.String())
	}
	gate.die()
	c.wants(exitRejected)
	w.wantAllStored(c)
	if !strings.Contains(c.stdout.String(), `"cause":"bulk: the connection broke: `) {
		t.Error("it does not tell that the connection broke")
	}
}

// TestDeadURLsAtTheStart begins with URLs at which nobody listens. Of four, the
// living one is hardly ever the first that is tried.
func TestDeadURLsAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(61, 200, 2))
	var urls []string
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "http://"+listener.Addr().String())
	}
	c := w.migrate(exitRejected, "--target", strings.Join(append(urls, w.target), ","))
	w.wantAllStored(c)
	if !strings.Contains(c.stdout.String(), "connection refused") {
		t.Error("no dead URL was ever tried")
	}
}

// wantAllStored wants each node to be stored once, or rejected: none may count
// as there before because it was sent again.
func (w *world) wantAllStored(c *child) {
	w.t.Helper()
	s := c.summary()
	w.wantComplete(s)
	if s.Fates[node.Stored]+s.Fates[node.Rejected] != s.Read {
		w.t.Errorf("fates %v of %d nodes", s.Fates, s.Read)
	}
}
