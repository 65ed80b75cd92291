// Package faulty puts proxies in front of real servers that break connections
// on purpose, so that tests see the whole tool meet the faults that its promises
// speak of: above all promise 1 (one fate for each node) and promise 4 (the
// checkpoint never runs ahead) when nobody knows whether the server acted.
package faulty

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// Cut says where an HTTP exchange breaks off.
type Cut uint8

// The places where it can break off.
const (
	NoCut        Cut = iota
	BeforeServer     // the server never sees the request
	BeforeAnswer     // the server has acted, the client gets nothing
	InAnswer         // the server has acted, the client gets half of the answer's body
)

// Fault is what happens to one HTTP request. The zero Fault passes it on.
type Fault struct {
	Delay  time.Duration // passes first
	Cut    Cut
	Status int    // if not 0, the answer's status; the server never sees the request
	Body   string // the body that goes with Status, JSON
}

// Rule decides what happens to the n-th request, counted from 1 over the whole
// proxy. It is called by one request at a time, so it may keep counts of its
// own; it must neither read the request's body nor call the proxy. A request
// that the client's transport repeats by itself, as Go's does with some GETs,
// counts again.
type Rule func(r *http.Request, n int) Fault

// HTTPProxy stands in front of one HTTP server.
type HTTPProxy struct {
	server    *httptest.Server
	backend   string
	transport *http.Transport
	stopped   chan struct{}

	mu   sync.Mutex // held while rule runs
	rule Rule
	seen int
}

// NewHTTPProxy starts a proxy for the server at backend, HOST:PORT, and stops
// it when the test ends. Bodies are streamed both ways.
func NewHTTPProxy(t testing.TB, backend string, rule Rule) *HTTPProxy {
	p := &HTTPProxy{
		backend:   backend,
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		stopped:   make(chan struct{}),
		rule:      rule,
	}
	p.server = httptest.NewServer(p)
	t.Cleanup(func() {
		close(p.stopped)
		p.server.CloseClientConnections()
		p.server.Close()
		p.transport.CloseIdleConnections()
	})
	return p
}

// Addr is the address that the proxy listens on, HOST:PORT.
func (p *HTTPProxy) Addr() string { return p.server.Listener.Addr().String() }

// URL is the proxy's address as a URL without a path.
func (p *HTTPProxy) URL() string { return p.server.URL }

// Requests is the number of requests so far.
func (p *HTTPProxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// ServeHTTP lets one request meet its fault.
func (p *HTTPProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.decide(r)
	passed := p.wait(r.Context(), fault.Delay)
	switch {
	case !passed, fault.Cut == BeforeServer:
		panic(http.ErrAbortHandler) // net/http's own way to close a connection without an answer
	case fault.Status != 0:
		answer(w, r, fault)
	default:
		p.forward(w, r, fault.Cut)
	}
}

func (p *HTTPProxy) decide(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	return p.rule(r, p.seen)
}

// forward sends the request on. A backend that does not answer looks like a
// cut to the client, not like a 502 that no server sent.
func (p *HTTPProxy) forward(w http.ResponseWriter, r *http.Request, cut Cut) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", p.backend
		},
		Transport:      p.transport,
		FlushInterval:  -1, // half an answer has to leave before the connection closes
		ModifyResponse: func(answer *http.Response) error { return cutAnswer(answer, cut) },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	proxy.ServeHTTP(w, r)
}

var errCut = errors.New("cut")

// cutAnswer reads the answer to its end first, so that the server has done all
// of its work.
func cutAnswer(answer *http.Response, cut Cut) error {
	if cut == NoCut {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if cut == BeforeAnswer {
		return errCut
	}
	half := bytes.NewReader(body[:len(body)/2])
	answer.Body = io.NopCloser(io.MultiReader(half, iotest.ErrReader(errCut)))
	return nil
}

// answer reads the request to its end first: a client that is still sending
// would see a broken connection instead.
func answer(w http.ResponseWriter, r *http.Request, fault Fault) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(fault.Status)
	_, _ = io.WriteString(w, fault.Body) // a client that has gone needs no answer
}

// wait is false if the client or the test ended first. It needs the test's end
// because net/http does not see a client go that is still sending its body.
func (p *HTTPProxy) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-p.stopped:
		return false
	case <-time.After(d):
		return true
	}
}
