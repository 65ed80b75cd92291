package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// limitFlags bound what the cluster is asked to take.
type limitFlags struct {
	MaxMBPerSecond float64 `name:"max-mb-per-second" help:"Send at most so many megabytes a second." env:"NODESTORE_MAX_MB_PER_SECOND" placeholder:"MB" group:"Limits"`
	Control        string  `help:"File that is watched for changes of the limits: lines such as paused = true, senders = 2, max-mb-per-second = 20." env:"NODESTORE_CONTROL" placeholder:"FILE" group:"Limits"`

	diskInterval time.Duration // no flag; 0 means the governor's own
}

func (f *limitFlags) problems(found []string) []string {
	if f.MaxMBPerSecond < 0 {
		found = append(found, fmt.Sprintf("--max-mb-per-second: %g is negative", f.MaxMBPerSecond))
	}
	return found
}

// governed is a governor with those that watch for it.
type governed struct {
	*governor.Governor
	watchers sync.WaitGroup
	cancel   context.CancelFunc
}

// govern makes the governor of a copy. Its watchers run until close.
func (f *limitFlags) govern(o *migrate.Options, show *display) *governed {
	batch := o.BatchBytes
	if batch == 0 {
		batch = migrate.DefaultBatchBytes
	}
	g := &governed{Governor: governor.New(governor.Options{
		Limits:     governor.Limits{Senders: o.Senders, MBPerSecond: f.MaxMBPerSecond},
		BatchBytes: batch, DiskInterval: f.diskInterval,
		Told: func(cause string) { show.event(migrate.Event{Kind: heldEvent, Cause: cause}) },
	})}
	o.Gate = g
	return g
}

// heldEvent tells why nothing is sent; without a cause, that it resumes.
const heldEvent migrate.Kind = "held"

// watch starts those that hold the governor back: the cluster's disks, and the
// control file if there is one.
func (g *governed) watch(ctx context.Context, t *target.Target, control string, show *display) {
	ctx, g.cancel = context.WithCancel(ctx)
	warn := func(err error) { show.event(migrate.Event{Kind: migrate.Warning, Cause: err.Error()}) }
	unknown := func(err error) {
		show.event(migrate.Event{Kind: migrate.Warning, Cause: "the nodes' disks are not watched, so that a full one holds nothing back: " + err.Error()})
	}
	g.watchers.Go(func() {
		g.WatchDisks(ctx, func(ctx context.Context, held bool) (string, error) { return noRoom(ctx, t, held) }, unknown)
	})
	if control == "" {
		return
	}
	g.watchers.Go(func() {
		g.WatchFile(ctx, control, func(l governor.Limits, err error) {
			if err != nil {
				warn(err)
				return
			}
			show.event(migrate.Event{Kind: limitsEvent, Cause: limitsText(l)})
		})
	})
}

// limitsEvent tells of changed limits.
const limitsEvent migrate.Kind = "limits"

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

// close ends the watchers.
func (g *governed) close() {
	if g.cancel != nil {
		g.cancel()
		g.watchers.Wait()
	}
}

// noRoom says why a load has to wait for room on the nodes that may hold a daily index, or "".
func noRoom(ctx context.Context, t *target.Target, waits bool) (string, error) {
	limits, err := t.Limits(ctx)
	if err != nil || !limits.Enforced {
		return "", err
	}
	disks, err := t.Disks(ctx, limits)
	return limits.NoRoom(disks, waits), err
}
