package sim

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

func TestMain(m *testing.M) {
	flag.Int("seeds", 8, "how many histories TestSimulator plays")
	flag.Uint64("seed", 1, "the first of them")
	// The servers are waited for most of the time; the command line comes later and wins.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(testservers.Run(m))
}

// number is the value of a flag of TestMain.
func number[T int | uint64](name string) T {
	return T(flag.Lookup(name).Value.(flag.Getter).Get().(T))
}

func newServers(t *testing.T) servers {
	postgres, openSearch := testservers.PostgresVersions(), testservers.OpenSearchVersions()
	return servers{testservers.Postgres(t, postgres[len(postgres)-1]), testservers.OpenSearch(t, openSearch[0])}
}

// play lets a history happen, and returns what Sentry sees that it should not.
func play(ctx context.Context, on servers, h history, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	w, err := newWorld(ctx, on, h.shape, dir)
	if err != nil {
		return err
	}
	defer func() {
		if closing := w.close(); err == nil {
			err = closing
		}
	}()
	w.model.keep = h.keep
	for i, s := range h.steps {
		if w.perform(s); w.failure != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s, w.failure)
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	return w.failure
}

// patience is how long a failing history is shortened.
const patience = 3 * time.Minute

func TestSimulator(t *testing.T) {
	on := newServers(t)
	first := number[uint64]("seed")
	for seed := first; seed < first+uint64(number[int]("seeds")); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			dir, plays := t.TempDir(), 0
			again := func(h history) error {
				plays++
				return play(t.Context(), on, h, filepath.Join(dir, fmt.Sprint(plays)))
			}
			err := again(h)
			if err == nil {
				return
			}
			deadline := time.Now().Add(patience)
			shortest := shorten(h, func(h history) bool {
				if time.Now().After(deadline) {
					return false
				}
				return again(h) != nil
			})
			t.Errorf("seed %d: %v\nshortest history that fails: %v\n%s", seed, err, again(shortest), shortest)
		})
	}
}
