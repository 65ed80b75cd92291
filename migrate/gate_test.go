package migrate_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// request is what passes a gate.
type request struct {
	*http.Request
	body []byte
	n    int // counted from 1
}

// bulk reports whether nodes are written.
func (r request) bulk() bool { return strings.HasSuffix(r.URL.Path, "/_bulk") }

// creates returns the name of the index that the request creates, or "".
func (r request) creates() string {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method != http.MethodPut || strings.ContainsAny(name, "/_") {
		return ""
	}
	return name
}

// ids are those of the nodes of a bulk.
func (r request) ids(t *testing.T) (ids []string) {
	for line := range bytes.Lines(r.body) {
		var action map[string]struct {
			ID string `json:"_id"`
		}
		if !bytes.HasPrefix(line, []byte(`{"index":`)) && !bytes.HasPrefix(line, []byte(`{"create":`)) {
			continue
		}
		if err := json.Unmarshal(line, &action); err != nil {
			t.Errorf("action line %q: %v", line, err)
		}
		for _, target := range action {
			ids = append(ids, target.ID)
		}
	}
	return ids
}

// passage is what happens to a request. The zero passage lets it through.
type passage struct {
	refuse bool   // the server never sees it, and the connection breaks
	acted  func() // called when the server has acted; then the connection breaks
	// answer, if set, is written in place of the server's, which does not see the request.
	answer func(http.ResponseWriter)
}

// gate stands between the tool and OpenSearch. watch sees each request before
// the server does, and may hold it or end the tool; unlike a proxy of package
// faulty it knows bodies, and the moment at which the server has acted.
type gate struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy
	watch   func(request) passage

	mu   sync.Mutex
	seen int
}

func newGate(t *testing.T, target string, watch func(request) passage) *gate {
	t.Helper()
	backend, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	g := &gate{forward: httputil.NewSingleHostReverseProxy(backend), watch: watch}
	g.forward.Transport = transport
	g.forward.ErrorLog = log.New(io.Discard, "", 0)
	g.forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	g.server = httptest.NewServer(g)
	t.Cleanup(func() {
		g.server.CloseClientConnections()
		g.server.Close()
		transport.CloseIdleConnections()
	})
	return g
}

// ServeHTTP reads the whole body first, so that a client that goes away while
// the request is held is noticed.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to close a connection without an answer
	}
	g.mu.Lock()
	g.seen++
	n := g.seen
	g.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch p := g.watch(request{r, body, n}); {
	case p.refuse:
		panic(http.ErrAbortHandler)
	case p.answer != nil:
		p.answer(w)
		return
	case p.acted != nil:
		g.forward.ServeHTTP(httptest.NewRecorder(), r)
		p.acted()
		panic(http.ErrAbortHandler)
	}
	g.forward.ServeHTTP(w, r)
}
