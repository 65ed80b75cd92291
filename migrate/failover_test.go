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
// travel on it.
func TestOneOfTwoURLsDies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		urls func(dying, living string) string
	}{
		{"the first", func(dying, living string) string { return dying + "," + living }},
		{"the second", func(dying, living string) string { return living + "," + dying }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newestPair()).fill(events(60, 400, 3))
			gate, acted := w.lastBulk(4)
			c := w.start("--target", test.urls(gate.server.URL, w.target))
			select {
			case <-acted:
			case <-c.ended:
				t.Fatalf("the way that should die was hardly used; standard error:\n%s", c.stderr.String())
			}
			gate.die()
			c.wants(exitRejected)
			w.wantAllStored(c)
			if !strings.Contains(c.stdout.String(), `"cause":"the connection broke: `) {
				t.Error("it does not tell that the connection broke")
			}
		})
	}
}

// TestDeadURLAtTheStart begins with a URL at which nobody listens.
func TestDeadURLAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(61, 200, 2))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	w.wantAllStored(w.migrate(exitRejected, "--target", dead+","+w.target))
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
