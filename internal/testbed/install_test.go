package testbed

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// newCache makes the test's own cache folder, one that nobody may enter too.
func newCache(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nodestore-cache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(CacheVariable, dir)
	return dir
}

func TestInstallBuildsOnce(t *testing.T) {
	newCache(t)
	var builds atomic.Int32
	d := distribution{"thing", func(_ context.Context, dir string) error {
		builds.Add(1)
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	}}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			home, err := d.install(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			info, err := os.Stat(filepath.Join(home, "file"))
			if err != nil {
				t.Error(err)
				return
			}
			if info.Mode().Perm() != 0o644 {
				t.Errorf("mode %v: the servers' user cannot read it", info.Mode())
			}
		})
	}
	group.Wait()
	if got := builds.Load(); got != 1 {
		t.Errorf("built %d times", got)
	}
}

func TestInstallThatFailedIsTriedAgain(t *testing.T) {
	cache := newCache(t)
	broken := errors.New("broken")
	fails := func(context.Context, string) error { return broken }
	if _, err := (distribution{"thing", fails}).install(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("error %v, want %v", err, broken)
	}
	works := func(context.Context, string) error { return nil }
	home, err := distribution{"thing", works}.install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(cache, "thing"); home != want {
		t.Errorf("installed in %s, want %s", home, want)
	}
}

func TestInstallWaitsForTheLockOnlyAsLongAsItMay(t *testing.T) {
	cache := newCache(t)
	unlock, err := lockFile(t.Context(), filepath.Join(cache, "install.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := (distribution{name: "thing"}).install(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestMissingMavenComesWithAHint(t *testing.T) {
	newCache(t)
	t.Setenv("PATH", t.TempDir())
	_, err := StartPostgres(t.Context(), PostgresOptions{})
	if err == nil || hint.Of(err) == "" {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}

func TestUntarStaysInsideItsFolder(t *testing.T) {
	t.Parallel()
	for _, header := range []tar.Header{
		{Name: "../outside", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "/outside", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "device", Typeflag: tar.TypeChar},
	} {
		var archive bytes.Buffer
		writer := tar.NewWriter(&archive)
		if err := errors.Join(writer.WriteHeader(&header), writer.Close()); err != nil {
			t.Fatal(err)
		}
		if err := untar(&archive, t.TempDir()); err == nil {
			t.Errorf("%s of type %q was unpacked", header.Name, header.Typeflag)
		}
	}
}
