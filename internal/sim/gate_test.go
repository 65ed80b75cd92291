package sim

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// gate stands between the tool and OpenSearch: at the requests that a run
// names, it has other things happen first, or kills the tool.
type gate struct {
	server  *httptest.Server
	backend string // URL
	perform func(step)

	mu    sync.Mutex // held while things happen
	run   run
	runs  int // so far
	seen  int
	kill  context.CancelFunc
	dead  bool
	log   []string          // the line of each request of the run
	watch func(line string) // if set, is told of each request that the server has answered
	held  *passing          // a request of a run that was killed, which the server has not seen yet
	inner http.Client

	closed bool     // an index is not created by writing to it
	faults []faulty // of the next answers that they can befall
}

// passing is a request that was read to its end.
type passing struct {
	method, path, kind string
	body               []byte
	run, n             int // which run of the gate it belongs to, and which of its requests it is
}

// line is the request's method and path.
func (p *passing) line() string {
	path, _, _ := strings.Cut(p.path, "?")
	return p.method + " " + path
}

// creates reports whether the request makes an index.
func (p *passing) creates() bool {
	return p.method == http.MethodPut && strings.Count(p.path, "/") == 1
}

func newGate(backend string, perform func(step)) *gate {
	g := &gate{backend: backend, perform: perform}
	g.server = httptest.NewServer(g)
	return g
}

func (g *gate) close() {
	g.server.Close()
	g.inner.CloseIdleConnections()
}

// begin makes the next requests those of a run, which kill ends.
func (g *gate) begin(r run, kill context.CancelFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runs++
	g.run, g.kill, g.seen, g.log, g.dead, g.faults = r, kill, 0, nil, false, nil
}

// lateAt is the request of the next run at which a held one arrives: early, for
// a server soon sees or drops what a dead client has sent.
const lateAt = 4

// ServeHTTP is http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to close a connection without an answer
	}
	p := &passing{method: r.Method, path: r.URL.RequestURI(), kind: r.Header.Get("Content-Type"), body: body}
	if !g.arrive(p) {
		panic(http.ErrAbortHandler)
	}
	a, err := g.answer(p)
	if err != nil || !g.leave(p) {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", a.kind)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that has gone needs no answer
}

func (g *gate) arrive(p *passing) (alive bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return false
	}
	g.seen++
	g.log = append(g.log, p.line())
	n := g.seen
	p.run, p.n = g.runs, n
	if n >= lateAt && g.held != nil {
		_, _ = g.forward(g.held) // whatever it does, nobody hears of it
		g.held = nil
	}
	g.happen(n, before)
	if c := g.run.crash; c.request == n && c.side != after {
		if c.side == late {
			g.held = p
		}
		return g.die()
	}
	return true
}

// leave is called when the server has acted. What a run that was killed has
// sent may be answered during the next one.
func (g *gate) leave(p *passing) (alive bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead || p.run != g.runs {
		return false
	}
	g.happen(p.n, after)
	if g.watch != nil {
		g.watch(p.line())
	}
	if c := g.run.crash; c.request == p.n && c.side == after {
		return g.die()
	}
	return true
}

func (g *gate) die() bool {
	g.dead = true
	g.kill()
	return false
}

func (g *gate) happen(n int, side side) {
	for _, d := range g.run.during {
		switch {
		case d.request != n || d.side != side:
		case d.step.do == fault:
			g.faults = append(g.faults, d.step.fault)
		default:
			g.perform(d.step)
		}
	}
}

func (g *gate) forward(p *passing) (a answer, err error) {
	request, err := http.NewRequest(p.method, g.backend+p.path, bytes.NewReader(p.body))
	if err != nil {
		return a, err
	}
	if p.kind != "" {
		request.Header.Set("Content-Type", p.kind)
	}
	response, err := g.inner.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	a.status, a.kind = response.StatusCode, "application/json"
	a.body, err = io.ReadAll(response.Body)
	return a, err
}
