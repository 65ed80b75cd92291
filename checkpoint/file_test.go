package checkpoint_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/mediumtest"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

func TestFileIsAMedium(t *testing.T) {
	t.Parallel()
	mediumtest.Run(t, func(t *testing.T) mediumtest.Open {
		path := filepath.Join(t.TempDir(), "a.checkpoint")
		return func() (checkpoint.Medium, error) { return checkpoint.OpenFile(path) }
	})
}

// Promise 4: killed at any instant, nothing acknowledged is lost, and what is
// recorded beyond that was at least begun.
func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	const kills = 40
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	acknowledged := map[int64]bool{}
	for range kills {
		c := startChild(t, path)
		for range 1 + rand.IntN(30) {
			c.hear(t)
		}
		<-time.After(rand.N(3 * time.Millisecond))
		c.kill(t)
		if c.failure != "" {
			t.Fatal(c.failure)
		}
		for _, number := range c.done {
			acknowledged[number] = true
		}
		state, err := checkpoint.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		day := state.Day(0)
		for number := range acknowledged {
			if !day.Done.Contains(slice(number)) {
				t.Fatalf("slice %d was acknowledged and is lost", number)
			}
		}
		if stored := day.Fates.Sum(); stored < length(day.Done) {
			t.Fatalf("%d fates for %d slices", stored, length(day.Done))
		}
	}
	if len(acknowledged) < kills {
		t.Fatalf("only %d acknowledged slices in %d runs", len(acknowledged), kills)
	}
}

func TestHolderIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	c := startChild(t, path)
	c.hear(t)
	_, err := checkpoint.OpenFile(path)
	host, hostErr := os.Hostname()
	if hostErr != nil {
		t.Fatal(hostErr)
	}
	holder := "process " + strconv.Itoa(c.command.Process.Pid) + " on " + host
	if !errors.Is(err, checkpoint.ErrHeld) || !strings.Contains(err.Error(), holder) || hint.Of(err) == "" {
		t.Errorf("open = %v, want ErrHeld that names %q, with a hint", err, holder)
	}
	if _, err := checkpoint.Read(path); err != nil {
		t.Errorf("status while another runs: %v", err)
	}
	c.kill(t)
	m, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	c := startChild(t, path, childMaxBytes+"=4096")
	c.end(t)
	if !strings.Contains(c.failure, "save checkpoint: write") || !strings.Contains(c.failure, syscall.EFBIG.Error()) {
		t.Errorf("error = %q", c.failure)
	}
	if !strings.Contains(c.hint, "make room") {
		t.Errorf("hint = %q", c.hint)
	}
	state, err := checkpoint.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if done := state.Day(0).Done; len(c.done) < 10 || len(done) != len(c.done) {
		t.Errorf("%d slices acknowledged, %d recorded", len(c.done), len(done))
	}
	wantFiles(t, filepath.Dir(path), "a.checkpoint", "a.checkpoint.lock")
}

func TestUnwritableDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, filepath.Join(dir, "a.checkpoint"), childUnpriv+"=1")
	c.end(t)
	if want := "lock checkpoint: open a.checkpoint.lock: permission denied"; c.failure != want {
		t.Errorf("error = %q, want %q", c.failure, want)
	}
	wantFiles(t, dir)
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	_, err := checkpoint.OpenFile(filepath.Join(t.TempDir(), "none", "a.checkpoint"))
	if _, ok := errors.AsType[*checkpoint.PlaceError](err); !ok || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open = %v", err)
	}
}

// No lock file comes about beside a directory, or beneath a file.
func TestNoPlaceForAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"folder": syscall.EISDIR, "file/a.checkpoint": syscall.ENOTDIR} {
		_, err := checkpoint.OpenFile(filepath.Join(dir, path))
		if _, ok := errors.AsType[*checkpoint.PlaceError](err); !ok || !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s = %v", path, err)
		}
	}
	wantFiles(t, dir, "file", "folder")
}

func TestRefusedRenameLeavesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	m, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(t.Context(), []byte(`{}`)); err == nil {
		t.Error("a directory was replaced")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	wantFiles(t, filepath.Dir(path), "a.checkpoint", "a.checkpoint.lock")
}

// One checkpoint under two names has one lock, and a write does not put a file
// in the link's place.
func TestSymbolicLink(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	link := filepath.Join(t.TempDir(), "link.checkpoint")
	if err := os.WriteFile(path, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	m, err := checkpoint.OpenFile(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.OpenFile(path); !errors.Is(err, checkpoint.ErrHeld) {
		t.Errorf("open by the other name = %v, want ErrHeld", err)
	}
	if err := m.Write(t.Context(), []byte(`{"n":1}`)); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != `{"n":1}` {
		t.Errorf("the file behind the link = %q, %v", data, err)
	}
	wantFiles(t, filepath.Dir(link), "link.checkpoint")
}

// The record names databases and hosts' indices: only its owner reads it, also
// when a run before left its temporary file open to all.
func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	if err := os.WriteFile(path+".tmp", []byte("cut"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := openFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	wantFiles(t, filepath.Dir(path), "a.checkpoint", "a.checkpoint.lock")
}

func wantFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	if strings.Join(found, " ") != strings.Join(names, " ") {
		t.Errorf("in the directory: %v, want %v", found, names)
	}
}

// TestLockFileIsRemoved: another run can lock the new one, so this one must not
// write any more.
func TestLockFileIsRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c")
	first, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if err := first.Write(t.Context(), []byte("{}")); !errors.Is(err, checkpoint.ErrHeld) {
		t.Errorf("without a lock file: %v", err)
	}
	second, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	if err := first.Write(t.Context(), []byte("{}")); !errors.Is(err, checkpoint.ErrHeld) {
		t.Errorf("with that of another run: %v", err)
	}
	if err := second.Write(t.Context(), []byte("{}")); err != nil {
		t.Error(err)
	}
}
