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

// limitFlags bound what the cluster is asked to take.
type limitFlags struct {
	MaxMBPerSecond float64 `name:"max-mb-per-second" help:"Send at most so many megabytes a second." env:"NODESTORE_MAX_MB_PER_SECOND" placeholder:"MB"`
	UntilDisk      bool    `help:"Copy the newest days that the target's disks have room for, and end before a watermark stops the load; run again when there is more room." env:"NODESTORE_UNTIL_DISK"`
	Control        string  `help:"File that is watched for changes of the limits: lines such as paused = true, senders = 2, max-mb-per-second = 20." env:"NODESTORE_CONTROL" placeholder:"FILE"`
}

func (f *limitFlags) problems(found []string) []string {
	if f.MaxMBPerSecond < 0 {
		found = append(found, fmt.Sprintf("--max-mb-per-second: %g is negative", f.MaxMBPerSecond))
	}
	return found
}

// govern makes the governor of a copy.
func (f *limitFlags) govern(o *migrate.Options, show *display) *governor.Governor {
	g := governor.New(governor.Options{
		Limits: governor.Limits{Senders: o.Senders, MBPerSecond: f.MaxMBPerSecond}, BatchBytes: o.BatchBytes,
		Told: func(cause string) { show.event(migrate.Event{Kind: heldEvent, Cause: cause}) },
	})
	o.Gate = g
	return g
}

// watch has the cluster's disks, and the control file if there is one, hold a governor
// back until the returned function is called. full is told why the disks do.
func (f *limitFlags) watch(ctx context.Context, g *governor.Governor, t *target.Target, show *display, full func(cause string)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	warn := func(text string) { show.event(migrate.Event{Kind: migrate.Warning, Cause: text}) }
	watchers.Go(func() {
		look := func(ctx context.Context, held bool) (string, error) {
			cause, err := noRoom(ctx, t, held)
			if cause != "" {
				full(cause)
			}
			return cause, err
		}
		g.WatchDisks(ctx, look, func(err error) {
			warn("the nodes' disks are not watched, so that a full one holds nothing back: " + err.Error())
		})
	})
	if f.Control != "" {
		watchers.Go(func() {
			g.WatchFile(ctx, f.Control, func(l governor.Limits, err error) {
				if err != nil {
					warn(err.Error())
					return
				}
				show.event(migrate.Event{Kind: limitsEvent, Cause: limitsText(l)})
			})
		})
	}
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
