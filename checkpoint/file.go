package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// maxHolderBytes bounds what is read of a lock file: a host name has at most
// 255 bytes.
const maxHolderBytes = 512

// file is the Medium of one machine: the document at path, readable by its
// owner only, and a lock file beside it. The lock is flock's, so it ends with
// the process however that ends; the lock file itself stays, because removing
// it would let two runs lock two files of one name.
type file struct {
	path string
	lock *os.File // nil: closed
}

// OpenFile takes the lock of the checkpoint file at path and returns the file
// as a Medium. The file need not exist, its directory must. If another run
// holds the lock the error is ErrHeld.
func OpenFile(path string) (Medium, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", advise(err))
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("lock checkpoint: %w", err)
	}
	return &file{path: path, lock: lock}, nil
}

// resolve follows symbolic links: a rename would put a file in the link's
// place, and one checkpoint under two names must have one lock.
func resolve(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	info, err := os.Stat(target)
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	return target, err
}

func acquire(path string) (lock *os.File, err error) {
	if lock, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, advise(err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = held(lock)
	case err != nil:
		err = advise(&fs.PathError{Op: "flock", Path: lock.Name(), Err: err})
	default:
		err = advise(sign(lock))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// sign writes into the lock file who holds it, for the message of the next.
func sign(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(lock, Holder())
	return err
}

// Holder is this process, for people.
func Holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

func held(lock *os.File) error {
	holder, err := io.ReadAll(io.LimitReader(lock, maxHolderBytes))
	if err != nil {
		return errors.Join(ErrHeld, err)
	}
	return HeldBy(strings.TrimSpace(string(holder))) // which may not have signed yet
}

// HeldBy is the ErrHeld that names a holder, "" if it is not known.
func HeldBy(holder string) error {
	err := ErrHeld
	if holder != "" {
		err = fmt.Errorf("%w: %s", ErrHeld, holder)
	}
	return hint.Add(err, "wait for the other run or stop it; nodestore-migrate status shows how far it is")
}

func (f *file) Read(ctx context.Context) ([]byte, error) {
	if err := f.usable(ctx); err != nil {
		return nil, err
	}
	return os.ReadFile(f.path)
}

// Write puts the document beside the old one and renames it over it, with an
// fsync of the file before, and of the directory after.
func (f *file) Write(ctx context.Context, document []byte) error {
	if err := f.usable(ctx); err != nil {
		return err
	}
	temporary := f.path + ".tmp"
	if err := writeNew(temporary, document); err != nil {
		return advise(err)
	}
	if err := os.Rename(temporary, f.path); err != nil {
		return advise(errors.Join(err, os.Remove(temporary)))
	}
	return advise(syncDir(filepath.Dir(f.path)))
}

func (f *file) usable(ctx context.Context) error {
	if f.lock == nil {
		return fs.ErrClosed
	}
	locked, err := f.lock.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Stat(f.lock.Name()); err != nil || !os.SameFile(locked, named) {
		return hint.Add(fmt.Errorf("%w, perhaps: somebody removed the file %s of this one", ErrHeld, f.lock.Name()),
			"see that no other run is left and run the same command again; leave that file alone, it locks nothing once its run has ended")
	}
	return ctx.Err()
}

// writeNew leaves at path the whole document, durably, or nothing. A file that
// a killed run left there is removed first: the name is fixed so that such
// files cannot pile up, and the lock makes it ours.
func writeNew(path string, document []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(document)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f *file) Close() error {
	if f.lock == nil {
		return nil
	}
	// Closing is not enough: a process that was forked at this moment has the
	// lock's file open as well, until it executes its program.
	err := errors.Join(syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN), f.lock.Close())
	f.lock = nil
	return err
}

// PlaceError says that the file system has no place for a checkpoint under its
// name: no such directory, or one that this user may not write to.
type PlaceError struct{ Err error }

func (e *PlaceError) Error() string { return e.Err.Error() }
func (e *PlaceError) Unwrap() error { return e.Err }

// advise adds what an operator can do about the file system's refusal.
func advise(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return hint.Add(err, "make room where the checkpoint is and run the same command again: it resumes where it was")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrNotExist),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return &PlaceError{err}
	}
	return err
}
