package governor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
)

// controlInterval is how often a control file is looked at.
const controlInterval = time.Second

// WatchFile applies what a control file says whenever it changes, until ctx
// ends. A file that cannot be read or understood changes nothing; told hears
// of it, and of each change. Without the file the limits are those of before,
// and more senders than those it does not allow: there are no others.
//
// The file has lines such as
//
//	paused = true
//	max-mb-per-second = 20
//	senders = 4
func (g *Governor) WatchFile(ctx context.Context, path string, told func(Limits, error)) {
	given := g.Limits()
	applied, lastError := given, ""
	look := func(time.Time) {
		limits, err := readLimits(path, given)
		limits.Senders = min(limits.Senders, given.Senders)
		switch {
		case err != nil && err.Error() != lastError:
			told(g.Limits(), err)
		case err == nil && limits != applied:
			applied = limits
			g.setLimits(limits)
			told(limits, nil)
		}
		lastError = fmt.Sprint(err)
	}
	look(time.Now())
	orderly.Every(ctx, controlInterval, look)
}

// readLimits reads a control file. What it does not say is as in given.
func readLimits(path string, given Limits) (Limits, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return given, nil
	}
	if err != nil {
		return given, fmt.Errorf("read control file: %w", err)
	}
	limits, number := given, 0
	for line := range strings.Lines(string(content)) {
		number++
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		if err := limits.set(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return given, fmt.Errorf("read control file %s: line %d: %w", path, number, err)
		}
	}
	return limits, nil
}

func (l *Limits) set(name, value string) (err error) {
	switch name {
	case "paused":
		l.Paused, err = strconv.ParseBool(value)
	case "senders":
		l.Senders, err = strconv.Atoi(value)
		if err == nil && l.Senders < 1 {
			err = errors.New("it must be 1 or more")
		}
	case "max-mb-per-second":
		l.MBPerSecond, err = strconv.ParseFloat(value, 64)
		if err == nil && l.MBPerSecond < 0 {
			err = errors.New("it must not be negative; 0 is no limit")
		}
	default:
		return fmt.Errorf("%q is not one of paused, senders, max-mb-per-second", name)
	}
	if err != nil {
		return fmt.Errorf("%s = %q: %w", name, value, err)
	}
	return nil
}
