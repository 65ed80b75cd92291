package faulty

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a server that answers with what it was asked.
type backend struct {
	acted atomic.Int32
	addr  string
}

const answerText = "answer to "

func newBackend(t *testing.T) *backend {
	b := new(backend)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("server reads the body: %v", err)
		}
		b.acted.Add(1)
		if r.URL.Query().Has("chunked") {
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, answerText+r.Method+" "+r.URL.EscapedPath()+" "+string(body))
	}))
	t.Cleanup(server.Close)
	b.addr = server.Listener.Addr().String()
	return b
}

// post sends body and returns the answer's status, or 0, and what came of its body.
func post(t *testing.T, url, body string) (status int, got string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	return response.StatusCode, string(all), err
}

func always(f Fault) Rule { return func(*http.Request, int) Fault { return f } }

func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	const path = "/sentry-2025-08-29/_doc/a%2Fb+c=="
	whole := answerText + "POST " + path + " body"
	for name, test := range map[string]struct {
		fault  Fault
		acted  int32
		status int
		body   string
		broken error
	}{
		"none":          {Fault{}, 1, 200, whole, nil},
		"before server": {Fault{Cut: BeforeServer}, 0, 0, "", io.EOF},
		"before answer": {Fault{Cut: BeforeAnswer}, 1, 0, "", io.EOF},
		"in answer":     {Fault{Cut: InAnswer}, 1, 200, whole[:len(whole)/2], io.ErrUnexpectedEOF},
		"status":        {Fault{Status: 429, Body: `{"status":429}`}, 0, 429, `{"status":429}`, nil},
	} {
		for _, query := range []string{"", "?chunked"} {
			t.Run(name+query, func(t *testing.T) {
				t.Parallel()
				backend := newBackend(t)
				proxy := NewHTTPProxy(t, backend.addr, always(test.fault))
				status, body, err := post(t, proxy.URL()+path+query, "body")
				if status != test.status || body != test.body || !errors.Is(err, test.broken) {
					t.Errorf("status %d, body %q, error %v", status, body, err)
				}
				if acted := backend.acted.Load(); acted != test.acted {
					t.Errorf("server acted %d times, want %d", acted, test.acted)
				}
			})
		}
	}
}

func TestStatusAnswersALargeRequest(t *testing.T) {
	t.Parallel()
	proxy := NewHTTPProxy(t, newBackend(t).addr, always(Fault{Status: http.StatusRequestEntityTooLarge}))
	status, _, err := post(t, proxy.URL(), strings.Repeat("x", 8<<20))
	if status != http.StatusRequestEntityTooLarge || err != nil {
		t.Errorf("status %d, error %v", status, err)
	}
}

func TestRuleChoosesByPathAndCount(t *testing.T) {
	t.Parallel()
	backend := newBackend(t)
	bulks := 0
	proxy := NewHTTPProxy(t, backend.addr, func(r *http.Request, _ int) Fault {
		if r.URL.Path != "/_bulk" {
			return Fault{}
		}
		if bulks++; bulks <= 2 {
			return Fault{Status: 503}
		}
		return Fault{}
	})
	for i, want := range []struct {
		path   string
		status int
	}{{"/_bulk", 503}, {"/_search", 200}, {"/_bulk", 503}, {"/_bulk", 200}} {
		if status, _, err := post(t, proxy.URL()+want.path, ""); status != want.status || err != nil {
			t.Errorf("request %d: status %d, error %v", i+1, status, err)
		}
	}
	if proxy.Requests() != 4 || backend.acted.Load() != 2 {
		t.Errorf("%d requests, the server acted on %d", proxy.Requests(), backend.acted.Load())
	}
}

func TestConcurrentRequestsAreCountedOnce(t *testing.T) {
	t.Parallel()
	backend := newBackend(t)
	seen := make(map[int]bool)
	proxy := NewHTTPProxy(t, backend.addr, func(_ *http.Request, n int) Fault {
		seen[n] = true
		if n%2 == 0 {
			return Fault{Cut: BeforeAnswer}
		}
		return Fault{}
	})
	var broken atomic.Int32
	var clients sync.WaitGroup
	for range 40 {
		clients.Go(func() {
			if _, _, err := post(t, proxy.URL(), "body"); err != nil {
				broken.Add(1)
			}
		})
	}
	clients.Wait()
	if len(seen) != 40 || broken.Load() != 20 || backend.acted.Load() != 40 {
		t.Errorf("%d numbers, %d broken, the server acted on %d", len(seen), broken.Load(), backend.acted.Load())
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	proxy := NewHTTPProxy(t, newBackend(t).addr, always(Fault{Delay: delay}))
	start := time.Now()
	if status, _, err := post(t, proxy.URL(), ""); status != 200 || err != nil || time.Since(start) < delay {
		t.Errorf("status %d, error %v after %s", status, err, time.Since(start))
	}
}

// TestDelayEndsWithTheTest would hang in its cleanup for an hour.
func TestDelayEndsWithTheTest(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	backend := newBackend(t)
	proxy := NewHTTPProxy(t, backend.addr, func(*http.Request, int) Fault {
		close(arrived)
		return Fault{Delay: time.Hour}
	})
	body, more := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.URL(), body)
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	go func() { // the body never ends, so net/http does not see that the client goes
		<-arrived
		_ = more.CloseWithError(gone)
	}()
	response, err := http.DefaultClient.Do(request)
	if !errors.Is(err, gone) {
		t.Errorf("error %v, want the client's own", err)
	}
	if err == nil {
		_ = response.Body.Close()
	}
}

func TestBodiesAreStreamed(t *testing.T) {
	t.Parallel()
	first := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
			t.Errorf("server reads the first part: %v", err)
		}
		close(first)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(server.Close)
	proxy := NewHTTPProxy(t, server.Listener.Addr().String(), always(Fault{}))
	body, more := io.Pipe()
	go func() {
		_, _ = io.WriteString(more, "first")
		<-first // the server has it before the body ends
		_ = more.Close()
	}()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.URL(), body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

func TestServerThatIsGoneLooksCut(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	proxy := NewHTTPProxy(t, gone.Listener.Addr().String(), always(Fault{}))
	if status, _, err := post(t, proxy.URL(), "body"); !errors.Is(err, io.EOF) {
		t.Errorf("status %d, error %v", status, err)
	}
}
