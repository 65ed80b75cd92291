package target

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

const page404 = "<html><body><h1>404 Not Found</h1></body></html>"

// TestPageInMidRun: a proxy's 404 to any request is neither "gone" nor the end.
func TestPageInMidRun(t *testing.T) {
	b := oldest(t)
	met := make(map[string]bool)
	config := b.behind(func(r *http.Request, _ int) faulty.Fault {
		step := r.Method + r.URL.Path
		if met[step] || r.URL.Path == "/" {
			return faulty.Fault{}
		}
		met[step] = true
		return faulty.Fault{Status: http.StatusNotFound, Body: page404}
	})
	var waited atomic.Int64
	config.Waiting = func(cause string, _ time.Duration) {
		if !strings.Contains(cause, "status 404 without OpenSearch's words") {
			t.Errorf("waits for %q", cause)
		}
		waited.Add(1)
	}
	target := openTarget(t, config)
	if _, ok, err := target.Daily(t.Context(), today); ok || err != nil {
		t.Errorf("found %v, %v", ok, err)
	}
	index := b.loading(target)
	got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
	wantFates(t, got, err, node.Fates{node.Stored: 3})
	if err := target.Refresh(t.Context(), index.Name); err != nil {
		t.Error(err)
	}
	copies, err := target.Copies(t.Context(), index.Name, []string{"n0", "n1"})
	if len(copies) != 2 || err != nil {
		t.Errorf("copies %v, %v", copies, err)
	}
	if sight, err := target.Read(t.Context(), "n2"); err != nil || sight.Copies != 1 || sight.Millis != noon/1000 || inner(t, sight.Data) != "2" {
		t.Errorf("%+v, %v", sight, err)
	}
	if removed, err := target.Remove(t.Context(), copies); len(removed) != 2 || err != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
	if err := target.GiveBack(t.Context(), index.Name, map[string]*string{"index.refresh_interval": nil}); err != nil {
		t.Error(err)
	}
	if int(waited.Load()) != len(met) {
		t.Errorf("%d pauses for %d steps", waited.Load(), len(met))
	}
}

// TestPageForGood ends with an error that names it, and never with "gone".
func TestPageForGood(t *testing.T) {
	b := oldest(t)
	var armed atomic.Bool
	config := b.behind(func(*http.Request, int) faulty.Fault {
		if armed.Load() {
			return faulty.Fault{Status: http.StatusNotFound, Body: page404}
		}
		return faulty.Fault{}
	})
	config.Patience = 200 * time.Millisecond
	target := openTarget(t, config)
	index := b.loading(target)
	armed.Store(true)
	_, _, daily := target.Daily(t.Context(), today)
	_, write := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(1)...))
	_, read := target.Read(t.Context(), "n0")
	for name, err := range map[string]error{"daily": daily, "write": write, "read": read} {
		if IsGone(err) {
			t.Errorf("%s: %v is gone", name, err)
		}
		wantRefusal(t, err, "status 404 without OpenSearch's words: a proxy in between, or a wrong path in the URL?", string(cluster.NotItself))
	}
}

// otherClusterBehindTheURL leads a target that was opened at one cluster to
// another: what that does not have is not gone.
func otherClusterBehindTheURL(b bed, other string) {
	t := b.T
	var at atomic.Value
	at.Store(b.URL)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to, err := url.Parse(at.Load().(string))
		if err != nil {
			panic(err)
		}
		r.SetURL(to)
	}})
	t.Cleanup(proxy.Close)
	config := b.config()
	config.URLs = []string{proxy.URL}
	target := openTarget(t, config)
	loading := b.loading(target)
	sealed := loading
	sealed.loading = false
	at.Store(other)
	_, _, daily := target.Daily(t.Context(), today)
	_, _, reload := target.Reload(t.Context(), loading)
	_, write := target.Write(t.Context(), loading, batchOf(t, Versioned, numbered(1)...))
	_, own := target.Write(t.Context(), sealed, batchOf(t, CreateOnly, numbered(1)...))
	_, holdings := target.Holdings(t.Context())
	for name, err := range map[string]error{"daily": daily, "reload": reload, "write": write, "write by name": own, "holdings": holdings} {
		if !errors.Is(err, cluster.ErrOtherCluster) || IsGone(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSealedByAnotherRun: the loading alias goes, the index stays.
func TestSealedByAnotherRun(t *testing.T) {
	b := oldest(t)
	target := b.open()
	index := b.loading(target)
	if err := target.GiveBack(t.Context(), index.Name, nil); err != nil {
		t.Fatal(err)
	}
	got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
	wantFates(t, got, err, node.Fates{node.Stored: 3})
	now, same, err := target.Reload(t.Context(), index)
	if err != nil || !same || now.Loading() || now.UUID != index.UUID {
		t.Errorf("%+v, %v, %v", now, same, err)
	}
}

// TestNameIsNotTheIndex: writing by its own name neither creates an index nor
// takes another of that name for it.
func TestNameIsNotTheIndex(t *testing.T) {
	b := oldest(t)
	target := b.open()
	index := b.plain(target)
	b.Must(http.MethodDelete, "/"+b.index(), "")
	got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, numbered(3)...))
	if !errors.Is(err, ErrDropped) || got.Fates.Sum() != 0 {
		t.Errorf("fates %v, %v", got.Fates, err)
	}
	if status, _ := b.Call(http.MethodGet, "/"+b.index(), ""); status != http.StatusNotFound {
		t.Error("writing created the index")
	}
	b.Must(http.MethodPut, "/"+b.index(), "")
	got, err = target.Write(t.Context(), index, batchOf(t, CreateOnly, numbered(3)...))
	if !errors.Is(err, ErrDropped) || got.Fates.Sum() != 0 {
		t.Errorf("fates %v, %v", got.Fates, err)
	}
	wantRefusal(t, err, "another one has its name", "somebody removed it")
	if now, same, err := target.Reload(t.Context(), index); err != nil || same || now.UUID == "" {
		t.Errorf("%+v, %v, %v", now, same, err)
	}
}

// TestIndexThatCameBackUnderTheBulk is created by the bulk itself in the moment
// after the look: its nodes do not count.
func TestIndexThatCameBackUnderTheBulk(t *testing.T) {
	b := oldest(t)
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		if isBulk(r) {
			b.Must(http.MethodDelete, "/"+b.index(), "")
		}
		return faulty.Fault{}
	})
	got, err := target.Write(t.Context(), b.plain(target), batchOf(t, CreateOnly, numbered(3)...))
	if !errors.Is(err, ErrDropped) || got.Fates.Sum() != 0 {
		t.Errorf("fates %v, %v", got.Fates, err)
	}
}

func TestCreateShared(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		if _, err := target.EnsureTemplate(t.Context()); err != nil {
			t.Fatal(err)
		}
		origin := Origin{Origin: node.Origin{Database: "sentry", Table: "nodestore_node", Region: "us"}}
		for range 2 {
			if err := target.CreateShared(t.Context(), b.index(), origin); err != nil {
				t.Fatal(err)
			}
		}
		index := b.daily(target)
		if !index.Ours() || index.Versioned() || !index.Behind || index.Loading() || !index.Origin.Shared || !index.Origin.Same(origin) || index.Problem() != "" {
			t.Errorf("%+v", index)
		}
		holdings, err := target.Holdings(t.Context())
		if err != nil || len(holdings) != 1 || !holdings[0].Origin.Same(origin) {
			t.Errorf("%+v, %v", holdings, err)
		}
		got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, numbered(3)...))
		wantFates(t, got, err, node.Fates{node.Stored: 3})
	})
}

// TestWrongPathPrefix: OpenSearch takes the path for an index that is missing.
func TestWrongPathPrefix(t *testing.T) {
	b := oldest(t)
	config := b.config()
	config.URLs = []string{b.URL + "/os"}
	_, err := Open(t.Context(), config)
	wantRefusal(t, err, "no such index [os]", string(cluster.TakesPath))
}

// TestClusterThatStarts has no identity for a moment, which is not another one.
func TestClusterThatStarts(t *testing.T) {
	b := oldest(t)
	roots := 0
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		if r.URL.Path != "/" {
			return faulty.Fault{}
		}
		if roots++; roots == 2 { // the first was Open's
			return faulty.Fault{Status: http.StatusOK, Body: `{"cluster_uuid":"_na_"}`}
		}
		return faulty.Fault{}
	})
	if _, ok, err := target.Daily(t.Context(), today); ok || err != nil || roots != 3 {
		t.Errorf("%v, %v, asked %d times", ok, err, roots)
	}
}
