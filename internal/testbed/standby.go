package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// clone copies the running server's data into a new folder that starts as its
// standby. The published binaries carry no pg_basebackup, so this is PostgreSQL's
// low-level base backup: start, copy the files, stop, write backup_label.
func (p *Postgres) clone(ctx context.Context, data string) error {
	connection, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return fmt.Errorf("connect to primary: %w", err)
	}
	defer connection.Close(ctx)
	begin, end := "select pg_backup_start('clone', true)", "select labelfile from pg_backup_stop(false)"
	if major(p.version) < 15 {
		begin, end = "select pg_start_backup('clone', true, false)", "select labelfile from pg_stop_backup(false, false)"
	}
	if _, err := connection.Exec(ctx, begin); err != nil {
		return fmt.Errorf("begin backup: %w", err)
	}
	if err := copyCluster(filepath.Join(p.dir, "data"), data); err != nil {
		return fmt.Errorf("copy data of primary: %w", err)
	}
	var label string
	if err := connection.QueryRow(ctx, end).Scan(&label); err != nil {
		return fmt.Errorf("end backup: %w", err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(data, "backup_label"), []byte(label), 0o600),
		os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o600),
		handOver(data))
	if err != nil {
		return fmt.Errorf("write standby: %w", err)
	}
	return nil
}

// copyCluster copies a live data folder: files may vanish meanwhile. WAL is left
// out, the standby streams it.
func copyCluster(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, from)
		if entry.IsDir() {
			return os.Mkdir(to+name, 0o700)
		}
		if name == "/postmaster.pid" || strings.HasPrefix(name, "/pg_wal/") {
			return nil
		}
		err = copyFile(path, to+name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// major is the first number of a version, 0 if it has none.
func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	number, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return number
}
