package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/inspect"
)

// limitFlags bound what the cluster is asked to do.
type limitFlags struct {
	MaxMBPerSecond float64 `name:"max-mb-per-second" help:"Move at most so many megabytes a second to or from the cluster." env:"NODESTORE_MAX_MB_PER_SECOND" placeholder:"MB"`
	Control        string  `help:"File that is watched for changes of the limits: lines such as paused = true, senders = 2, max-mb-per-second = 20." env:"NODESTORE_CONTROL" placeholder:"FILE"`
}

func (f *limitFlags) problems(found []string) []string {
	if f.MaxMBPerSecond < 0 {
		found = append(found, fmt.Sprintf("--max-mb-per-second: %g is negative", f.MaxMBPerSecond))
	}
	return found
}

// govern makes the governor of so many requests at the same time, each of so many
// bytes at most. told hears why they are held back.
func (f *limitFlags) govern(senders, bytes int, told func(cause string)) *governor.Governor {
	return governor.New(governor.Options{
		Limits: governor.Limits{Senders: senders, MBPerSecond: f.MaxMBPerSecond}, BatchBytes: bytes, Told: told,
	})
}

// watchFile follows the control file, if there is one, until ctx ends.
func (f *limitFlags) watchFile(ctx context.Context, g *governor.Governor, changed, warn func(text string)) {
	if f.Control == "" {
		return
	}
	g.WatchFile(ctx, f.Control, func(l governor.Limits, err error) {
		if err != nil {
			warn(err.Error())
			return
		}
		changed(limitsText(l))
	})
}

// watch has the cluster's disks, what the source suffers, and the control file if there is one, hold the copy
// back until the returned function is called.
func (w *work) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	tell := func(kind migrate.Kind) func(string) {
		return func(text string) { w.show.event(migrate.Event{Kind: kind, Cause: text}) }
	}
	warn := tell(migrate.Warning)
	watchers.Go(func() {
		look := func(ctx context.Context, held bool) (string, error) {
			cause, err := noRoom(ctx, w.session.Target, held)
			if cause != "" {
				w.disks.noMoreRoom(cause)
			}
			return cause, err
		}
		w.governor.Watch(ctx, "disk", look, func(err error) {
			warn("the nodes' disks are not watched, so that a full one holds nothing back: " + err.Error())
		})
	})
	watchers.Go(func() { watchStrain(ctx, w.governor, w.session.Source, warn) })
	watchers.Go(func() { w.watchFile(ctx, w.governor, tell(limitsEvent), warn) })
	return func() {
		cancel()
		watchers.Wait()
	}
}

func limitsText(l governor.Limits) string {
	text := fmt.Sprintf("at most %d senders", l.Senders)
	if l.MBPerSecond > 0 {
		text += fmt.Sprintf(" and %g MB/s", l.MBPerSecond)
	}
	if l.Paused {
		text += ", paused"
	}
	return text
}

// noRoom says why a load has to wait for room on the nodes that may hold a daily index, or "".
func noRoom(ctx context.Context, t *target.Target, waits bool) (string, error) {
	limits, err := inspect.LimitsOf(ctx, t)
	if err != nil || !limits.Enforced {
		return "", err
	}
	disks, err := inspect.Disks(ctx, t, limits)
	return limits.NoRoom(disks, waits), err
}
