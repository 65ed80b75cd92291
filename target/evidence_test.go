package target

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// TestSeenThroughTheAlias counts what Sentry's search would find, not what the index has.
func TestSeenThroughTheAlias(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		ids := []string{"n0", "n1", "n2", "none"}
		if own, behind, err := target.Seen(t.Context(), b.index(), ids); own != 0 || behind != 0 || err != nil {
			t.Errorf("without an alias: %d, %d, %v", own, behind, err)
		}
		index := b.plain(target)
		got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, numbered(3)...))
		wantFates(t, got, err, node.Fates{node.Stored: 3})
		b.must(http.MethodPut, "/"+b.backend.IndexOf(today+1)+"/_doc/n1?refresh=true", `{"data":"x","timestamp":"2024-10-05T00:00:00Z"}`)
		b.must(http.MethodPost, "/"+b.index()+"/_refresh", "")
		if own, behind, err := target.Seen(t.Context(), b.index(), ids); own != 3 || behind != 4 || err != nil {
			t.Errorf("%d, %d, %v", own, behind, err)
		}
		b.must(http.MethodPost, "/_aliases", fmt.Sprintf(`{"actions":[{"add":{"index":%q,"alias":%q,"filter":{"term":{"_id":"n0"}}}}]}`, b.index(), b.backend.Alias))
		if own, behind, err := target.Seen(t.Context(), b.index(), ids); own != 1 || behind != 2 || err != nil {
			t.Errorf("with a filter: %d, %d, %v", own, behind, err)
		}
		if sight, err := target.Read(t.Context(), "n2"); sight.Copies != 0 || sight.Millis != -1 || err != nil {
			t.Errorf("with a filter: %+v, %v", sight, err)
		}
	})
}

func TestFingerprintsTellChanges(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		b.backend.Shards = 2
		target := b.open()
		if prints, err := target.Fingerprints(t.Context()); len(prints) != 0 || err != nil {
			t.Errorf("%v, %v", prints, err)
		}
		index := b.plain(target)
		fingerprint := func() Fingerprint {
			prints, err := target.Fingerprints(t.Context())
			if err != nil || len(prints) != 1 {
				t.Fatalf("%v, %v", prints, err)
			}
			return prints[index.Name]
		}
		seen := []Fingerprint{fingerprint()}
		if seen[0].UUID != index.UUID {
			t.Errorf("%+v, uuid %s", seen[0], index.UUID)
		}
		for name, change := range map[string]func(){
			"write":   func() { b.must(http.MethodPut, "/"+index.Name+"/_doc/a", `{"data":"x"}`) },
			"rewrite": func() { b.must(http.MethodPut, "/"+index.Name+"/_doc/a", `{"data":"y"}`) },
			"delete":  func() { b.call(http.MethodDelete, "/"+index.Name+"/_doc/a", "") },
		} {
			change()
			if now := fingerprint(); slices.Contains(seen, now) {
				t.Errorf("%s: still %+v", name, now)
			} else {
				seen = append(seen, now)
			}
		}
	})
}

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
			if _, err := target.Copies(t.Context(), index.Name, []string{"old"}); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%v", err)
			}
			if _, err := target.Read(t.Context(), "old"); !errors.Is(err, ErrIncomplete) {
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
	if err := target.CreateShared(t.Context(), b.index(), Origin{Database: "d", Table: "t"}); err != nil {
		t.Fatal(err)
	}
	rows := numbered(50)
	got, err := target.Write(t.Context(), b.daily(target), batchOf(t, CreateOnly, rows...))
	wantFates(t, got, err, node.Fates{node.Stored: 50})
	b.must(http.MethodPost, "/"+b.index()+"/_refresh", "")
	if missing, err := target.MissingShards(t.Context()); len(missing) != 0 || err != nil {
		t.Errorf("missing %v, %v", missing, err)
	}
	b.wantFilteredDisks(target)
	if err := goes.Stop(); err != nil {
		t.Fatal(err)
	}
	b.must(http.MethodGet, "/_cluster/health?wait_for_nodes=1&timeout=60s", "")
	if missing, err := target.MissingShards(t.Context()); !slices.Equal(missing, []string{b.index()}) || err != nil {
		t.Errorf("missing %v, %v", missing, err)
	}
	b.wantNoShortAnswers(target)
}

// wantNoShortAnswers asks every question about an index that lacks a shard.
func (b bed) wantNoShortAnswers(target *Target) {
	ctx, ids := b.t.Context(), []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"}
	for name, ask := range map[string]func() error{
		"copies":    func() error { _, err := target.Copies(ctx, b.index(), ids); return err },
		"elsewhere": func() error { _, err := target.Elsewhere(ctx, "other", ids); return err },
		"count":     func() error { _, err := target.Count(ctx, b.index()); return err },
		"present":   func() error { _, err := target.Present(ctx, b.index(), ids); return err },
		"moments":   func() error { _, err := target.Moments(ctx, b.index(), 0, noon); return err },
		"holdings":  func() error { _, err := target.Holdings(ctx); return err },
		"seen":      func() error { _, _, err := target.Seen(ctx, b.index(), ids); return err },
		"between":   func() error { return target.Between(ctx, b.index(), 0, noon, func([]Copy) error { return nil }) },
		"payloads":  func() error { return target.Payloads(ctx, b.index(), ids, func(Document) error { return nil }) },
		"held":      func() error { _, err := target.Held(ctx, b.index(), ids); return err },
	} {
		if err := ask(); err == nil || IsGone(err) {
			b.t.Errorf("%s: %v", name, err)
		}
	}
}
