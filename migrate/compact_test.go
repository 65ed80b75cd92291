package migrate_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// wantCompact wants each day to be one segment a shard, without a second copy of
// its payloads, and with the settings of the template.
func (w *world) wantCompact(shards int, codec string) {
	w.t.Helper()
	state, _ := w.state()
	if len(state.Days) == 0 || len(state.Borrowed) != 0 {
		w.t.Fatalf("%d days, borrowed %v", len(state.Days), state.Borrowed)
	}
	to := w.openTarget()
	for name, day := range state.Days {
		n, err := node.ParseDay(name)
		if err != nil {
			w.t.Fatal(err)
		}
		index, there, err := to.Daily(w.t.Context(), n)
		if err != nil || !there {
			w.t.Fatalf("day %s: %t, %v", name, there, err)
		}
		s, err := to.Segments(w.t.Context(), index)
		if err != nil || s.Most != 1 || day.Compact.IsZero() || day.Stored != s.Bytes {
			w.t.Errorf("day %s: %+v, %v; the checkpoint has %d bytes, compact at %s", name, s, err, day.Stored, day.Compact)
		}
		most := 0.9
		if codec == "default" {
			most = 1.2
		}
		if ratio := float64(s.Bytes) / float64(day.Bytes); ratio > most {
			w.t.Errorf("day %s takes %.2f bytes for each of payload", name, ratio)
		}
		var settings map[string]struct{ Settings map[string]string }
		w.must(http.MethodGet, "/"+index.Name+"/_settings?flat_settings=true", "", &settings)
		got := settings[index.Name].Settings
		if got["index.number_of_replicas"] != "1" || got["index.refresh_interval"] != "" || got["index.number_of_shards"] != string(rune('0'+shards)) || index.Codec() != codec {
			w.t.Errorf("day %s has settings %v", name, got)
		}
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		shards int
		codec  string
		flags  []string
	}{
		{"as the template says", 1, "best_compression", nil},
		{"codec and shards of its own", 2, "default", []string{"--codec", "default", "--shards-per-day", "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newestPair()).fill(clean(310, 500, 3))
			// The small batches make many segments, and the third day one for each shard.
			s := w.migrate(exitDone, append(test.flags, "--compact", "now")...)
			w.wantComplete(s.summary())
			w.wantCompact(test.shards, test.codec)
			s.reports(`"event":"day_compact"`)
		})
	}
}

func TestCompactLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(311, 60, 2))
	w.migrate(exitDone, "--bulk-bytes", "8MiB", "--compact", "later")
	state, _ := w.state()
	for name, day := range state.Days {
		if !day.Compact.IsZero() {
			t.Fatalf("day %s: %+v", name, day)
		}
	}
	w.migrate(exitDone, "--compact-only")
	w.wantCompact(1, "best_compression")
	w.wantReadable()
	w.migrate(exitDone, "--compact-only") // nothing is left to do
}

// TestCompactIsKilled kills the tool at each request that compaction makes beside
// its looks, before and after the server has acted, and has the next run finish.
func TestCompactIsKilled(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"external_gte", "_forcemerge", "_settings"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newestPair()).fill(clean(312, 40, 1))
			for _, after := range []bool{false, true} {
				var victim *child
				started := make(chan struct{})
				gate := newGate(t, w.target, func(r request) passage {
					if !strings.Contains(r.URL.Path, step) && !strings.Contains(string(r.body), step) || r.Method == http.MethodGet {
						return passage{}
					}
					<-started
					if after {
						return passage{acted: victim.kill}
					}
					victim.kill()
					return passage{refuse: true}
				})
				victim = w.start("--target", gate.server.URL, "--bulk-bytes", "8MiB", "--compact", "now")
				close(started)
				if !victim.killed() {
					t.Fatalf("%s was not asked for", step)
				}
			}
			w.migrate(exitDone, "--compact", "now")
			w.wantCompact(1, "best_compression")
			w.wantReadable()
		})
	}
}

// TestMergedWhileTheSecondCopyWasKept has a server believe too early that second
// copies can go: one merge leaves them, and the day is merged again.
func TestMergedWhileTheSecondCopyWasKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(315, 500, 1))
	index := w.index(w.rows[0])
	var merges atomic.Int32
	gate := newGate(t, w.target, func(r request) passage {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_forcemerge"):
			merges.Add(1)
		case strings.HasSuffix(r.URL.Path, "/_stats") && r.URL.Query().Get("level") == "shards" && merges.Load() == 0:
			return passage{answer: func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/json")
				if _, err := fmt.Fprintf(w, `{"_shards":{"failed":0},"indices":{%q:{"shards":{"0":[]}}}}`, index); err != nil {
					t.Error(err)
				}
			}}
		}
		return passage{}
	})
	w.migrate(exitDone, "--target", gate.server.URL, "--compact", "now")
	if merges.Load() < 2 {
		t.Errorf("%d merges", merges.Load())
	}
	w.wantCompact(1, "best_compression")
	w.wantReadable()
}

// TestCompactIsInterrupted stops while the second copies are waited for.
func TestCompactIsInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(313, 60, 2))
	c := w.start("--compact", "now")
	c.reports(`"event":"compacting"`)
	c.interrupt()
	c.wants(exitInterrupted)
	if state, _ := w.state(); len(state.Borrowed) == 0 || state.CatchUp.Completed == nil {
		t.Errorf("borrowed %v, completed %v", state.Borrowed, state.CatchUp.Completed)
	}
	w.migrate(exitDone, "--compact", "never")
	if state, _ := w.state(); len(state.Borrowed) != 0 {
		t.Errorf("borrowed %v", state.Borrowed)
	}
	w.wantReadable()
}

// TestCodecThatANodeLacks is refused before anything is made: the server here has
// no plugin.
func TestCodecThatANodeLacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(314, 20, 1))
	c := w.migrate(exitFailed, "--codec", "zstd")
	if text := c.stderr.String(); !strings.Contains(text, "codec zstd") || !strings.Contains(text, "opensearch-custom-codecs") {
		t.Errorf("standard error:\n%s", text)
	}
	if _, there, err := w.openTarget().Daily(t.Context(), dayOf(w.rows[0])); there || err != nil {
		t.Errorf("an index was made: %v", err)
	}
}
