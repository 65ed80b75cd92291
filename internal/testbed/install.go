package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// CacheVariable names the environment variable with the folder that keeps the
// unpacked servers. Without it they are kept in the user's cache folder, or,
// where root's is closed to the servers' user, in a temporary one.
const CacheVariable = "NODESTORE_TESTBED_DIR"

// distribution is an unpacked server, or part of one, in the cache.
type distribution struct {
	name  string
	build func(ctx context.Context, dir string) error // fills an empty folder
}

// install returns the distribution's folder and builds it on first use. Several
// processes may call it at once: one builds, the others wait.
func (d distribution) install(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	home := filepath.Join(cache, d.name)
	if exists(home) {
		return home, nil
	}
	// One lock for all: Maven 3's own repository is not safe for concurrent use.
	unlock, err := lockFile(ctx, filepath.Join(cache, "install.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(home) {
		return home, nil
	}
	if err := d.buildInto(ctx, home); err != nil {
		return "", fmt.Errorf("install %s: %w", d.name, err)
	}
	return home, nil
}

// buildInto builds aside and renames, so that home is complete or not there.
func (d distribution) buildInto(ctx context.Context, home string) error {
	partial := home + ".partial" // what a killed process left is ours: we hold the lock
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	if err := os.Mkdir(partial, 0o755); err != nil {
		return err
	}
	if err := d.build(ctx, partial); err != nil {
		return err
	}
	if err := makeReadable(partial); err != nil {
		return err
	}
	return os.Rename(partial, home)
}

func cacheDir() (string, error) {
	dir := os.Getenv(CacheVariable)
	chosen := dir != ""
	if !chosen {
		dir = defaultCacheDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", hint.Add(fmt.Errorf("make cache folder: %w", err), "point "+CacheVariable+" at a folder that you may write to")
	}
	if !chosen && !ours(dir) {
		return "", hint.Add(fmt.Errorf("use cache folder: %s belongs to another user", dir),
			"point "+CacheVariable+" at a folder whose programs you trust")
	}
	if !reachable(dir) {
		return "", hint.Add(fmt.Errorf("use cache folder: user nobody cannot enter %s", dir),
			"point "+CacheVariable+" at a folder that every user may enter, or do not run as root")
	}
	return filepath.Abs(dir)
}

func defaultCacheDir() string {
	if dir, err := os.UserCacheDir(); err == nil && reachable(dir) {
		return filepath.Join(dir, "nodestore-migrate")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("nodestore-migrate-%d", os.Geteuid()))
}

// ours reports whether dir is our own. Another user could have made a folder of
// that name in the temporary folder, with other programs in it.
func ours(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	return known && int(owner.Uid) == os.Geteuid()
}

// lockFile takes the lock of all processes on path. The kernel drops it should
// its holder die.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ctx.Err()), file.Close())
		case <-ticker.C:
		}
	}
}

// makeReadable undoes a strict umask: the servers may run as another user.
func makeReadable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
