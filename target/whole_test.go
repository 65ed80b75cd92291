package target

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// TestHalfAnswers: what says of itself that it is not whole is asked again, and
// is an error when it stays so.
func TestHalfAnswers(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]string{
		"out of time":  `{"timed_out":true,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"total":{"value":0},"hits":[]}}`,
		"a shard away": `{"timed_out":false,"_shards":{"total":2,"successful":1,"failed":0},"hits":{"total":{"value":0},"hits":[]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			var left atomic.Int64
			config := b.behind(func(r *http.Request, _ int) faulty.Fault {
				if strings.HasSuffix(r.URL.Path, "/_search") && left.Add(-1) >= 0 {
					return faulty.Fault{Status: http.StatusOK, Body: half}
				}
				return faulty.Fault{}
			})
			config.Patience = 500 * time.Millisecond
			target := openTarget(t, config)
			index := b.plain(target)
			b.sentryWrites("old", noon-5000, "Sentry's")
			left.Store(2)
			got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, row{"old", noon, "ours"}))
			wantFates(t, got, err, node.Fates{node.Stored: 1})
			left.Store(1000)
			if _, err := target.Copies(t.Context(), index.Name, []string{"old"}); !errors.Is(err, cluster.ErrIncomplete) {
				t.Errorf("%v", err)
			}
			if _, err := target.Read(t.Context(), "old"); !errors.Is(err, cluster.ErrIncomplete) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestShardAway has a cluster of its own, of which one of two nodes goes, and
// which creates no index by writing.
func TestShardAway(t *testing.T) {
	t.Parallel()
	start := func(options testbed.OpenSearchOptions) *testbed.OpenSearch {
		options.Quick = true
		options.Settings = map[string]string{"action.auto_create_index": "false"}
		server, err := testbed.StartOpenSearch(t.Context(), options)
		if err != nil {
			t.Fatalf("%v\n%s", err, hint.Of(err))
		}
		t.Cleanup(func() { _ = server.Stop() })
		return server
	}
	stays := start(testbed.OpenSearchOptions{})
	goes := start(testbed.OpenSearchOptions{Join: stays})
	b := newBed(t, stays.URL())
	b.backend.Shards = 2 // one on each node
	config := b.config()
	config.Patience = time.Second
	target := openTarget(t, config)
	if _, err := target.EnsureTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Write(t.Context(), Index{Name: b.index(), Day: today}, batchOf(t, CreateOnly, numbered(1)...)); !errors.Is(err, ErrDropped) {
		t.Errorf("write without an index: %v", err)
	}
	if err := target.CreateShared(t.Context(), b.index(), Origin{Origin: node.Origin{Database: "d", Table: "t"}}); err != nil {
		t.Fatal(err)
	}
	rows := numbered(50)
	got, err := target.Write(t.Context(), b.daily(target), batchOf(t, CreateOnly, rows...))
	wantFates(t, got, err, node.Fates{node.Stored: 50})
	b.Must(http.MethodPost, "/"+b.index()+"/_refresh", "")
	if err := goes.Stop(); err != nil {
		t.Fatal(err)
	}
	b.Must(http.MethodGet, "/_cluster/health?wait_for_nodes=1&timeout=60s", "")
	b.wantNoShortAnswers(target)
}

// wantNoShortAnswers asks every question about an index that lacks a shard.
func (b bed) wantNoShortAnswers(target *Target) {
	ctx, ids := b.T.Context(), []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"}
	for name, ask := range map[string]func() error{
		"copies":    func() error { _, err := target.Copies(ctx, b.index(), ids); return err },
		"elsewhere": func() error { _, err := target.Elsewhere(ctx, "other", ids); return err },
		"count":     func() error { _, err := target.Count(ctx, b.index(), nil); return err },
		"moments":   func() error { _, err := target.Moments(ctx, b.index(), 0, noon); return err },
		"holdings":  func() error { _, err := target.Holdings(ctx); return err },
		"between":   func() error { return target.Between(ctx, b.index(), 0, noon, func([]Copy) error { return nil }) },
		"held":      func() error { _, err := target.Held(ctx, b.index(), ids); return err },
	} {
		if err := ask(); err == nil || IsGone(err) {
			b.T.Errorf("%s: %v", name, err)
		}
	}
}
