package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// lineInterval is how often a log has a line about progress.
const lineInterval = 5 * time.Second

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
