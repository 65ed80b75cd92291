package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// logFile is the log that is kept beside what is shown. A disk that is full is
// told of once and ends nothing. Its display's mutex guards it.
type logFile struct {
	*slog.Logger
	file     io.WriteCloser
	path     string
	warn     func(text string)
	warned   bool
	torn     bool      // the last line is not whole
	progress time.Time // when progress was last logged
}

// openLog opens a log to append to it.
func openLog(path string, level slog.Level, warn func(text string)) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("open --log-file: %w", err), "name a file in a folder that is there and where this user may write")
	}
	l := &logFile{file: file, path: path, warn: warn}
	l.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level}))
	return l, nil
}

// Write writes a line. It has no error: a log must not end what it tells of.
func (l *logFile) Write(line []byte) (int, error) {
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	l.torn = l.torn && n == 0 || n > 0 && n < len(line)
	if err != nil && !l.warned {
		l.warned = true
		l.warn(fmt.Sprintf("write the log %s: %v; the run continues, and lines are missing there", l.path, err))
	}
	return len(line), nil
}

// isDue says whether progress is worth a line again.
func (l *logFile) isDue() bool {
	due := time.Since(l.progress) >= lineInterval
	if due {
		l.progress = time.Now()
	}
	return due
}

// written is a file that a flag names, to write it.
type written struct{ flag, path string }

// ownFiles adds a problem for each of them that is another one's, or belongs to
// the checkpoint: what is written last would be all that is left.
func ownFiles(found []string, checkpoint string, files ...written) []string {
	base := besideCheckpoint(checkpoint)
	taken := []written{
		{"the checkpoint", checkpoint},
		{"the checkpoint's lock", checkpoint + ".lock"},
		{"the list of rejected nodes", rejectedFile(checkpoint)},
		{"the list of findings", base + ".findings.jsonl"},
		{"the rejected payloads", base + ".rejected-payloads.jsonl.zst"},
	}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		for _, other := range taken {
			if sameFile(f.path, other.path) {
				found = append(found, fmt.Sprintf("%s: %s is %s: name a file of its own", f.flag, f.path, other.flag))
			}
		}
		taken = append(taken, f)
	}
	return found
}

// sameFile says whether two names lead to one file. A device or a pipe is none.
func sameFile(one, other string) bool {
	a, err := os.Stat(one)
	b, otherErr := os.Stat(other)
	if err == nil && otherErr == nil {
		return os.SameFile(a, b) && a.Mode().IsRegular()
	}
	one, err = filepath.Abs(one)
	other, otherErr = filepath.Abs(other)
	return err == nil && otherErr == nil && one == other
}
