package sim

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

func TestMain(m *testing.M) {
	flag.Int("seeds", 8, "how many histories TestSimulator plays")
	flag.Uint64("seed", 1, "the first of them")
	flag.Duration("patience", 3*time.Minute, "how long a failing one is shortened")
	// The servers are waited for most of the time; the command line comes later and wins.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(testservers.Run(m))
}

// number is the value of a flag of TestMain.
func number[T int | uint64 | time.Duration](name string) T {
	return T(flag.Lookup(name).Value.(flag.Getter).Get().(T))
}

func newServers(t *testing.T) servers {
	postgres, openSearch := testservers.PostgresVersions(), testservers.OpenSearchVersions()
	return servers{testservers.Postgres(t, postgres[len(postgres)-1]), testservers.OpenSearch(t, openSearch[0])}
}

// play lets a history happen, and returns whether it ends safe, and what
// Sentry sees that it should not.
func play(ctx context.Context, on servers, h history, dir string) (safe bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	w, err := newWorld(ctx, on, h.setting, dir)
	if err != nil {
		return false, err
	}
	defer func() {
		if closing := w.close(); err == nil {
			err = closing
		}
	}()
	for i, s := range h.steps {
		if w.perform(s); w.failure != nil {
			return false, fmt.Errorf("step %d, %s: %w", i+1, s, w.failure)
		}
	}
	if err := w.end(); err != nil {
		return false, err
	}
	return w.verdict.SafeToDrop, w.failure
}

// enough seeds end safe now and then, or nothing ever does.
const enough = 50

func TestSimulator(t *testing.T) {
	on := newServers(t)
	first, n := number[uint64]("seed"), number[int]("seeds")
	var safe atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d of %d histories end safe", safe.Load(), n)
		if n >= enough && safe.Load() == 0 {
			t.Error("no history ends safe")
		}
	})
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			good, err := play(t.Context(), on, h, t.TempDir())
			if good {
				safe.Add(1)
			}
			if err != nil {
				report(t, on, seed, err)
			}
		})
	}
}

// report shortens a history that fails.
func report(t *testing.T, on servers, seed uint64, err error) {
	dir, plays := t.TempDir(), 0
	again := func(h history) error {
		plays++
		_, err := play(t.Context(), on, h, filepath.Join(dir, fmt.Sprint(plays)))
		return err
	}
	deadline := time.Now().Add(number[time.Duration]("patience"))
	shortest := shorten(newHistory(seed), func(h history) bool {
		return time.Now().Before(deadline) && again(h) != nil
	})
	t.Errorf("seed %d: %v\nshortest history that fails: %v\n%s", seed, err, again(shortest), shortest)
}
