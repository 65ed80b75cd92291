package cli

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// work is a migration while it runs.
type work struct {
	*migrateCommand
	process  *process
	session  *session
	options  migrate.Options
	show     *display
	governor *governor.Governor
	disks    untilDisk
}

// garbagePercent keeps garbage small beside what is in use. Batches are nearly all of
// that, and stay for the whole copy: with Go's usual 100 % the heap grows to twice
// their size before it is looked at (promise 8). With 4 readers and 8 senders the peak
// is 160 instead of 200 MiB, at some 30 collections of a millisecond in 2.8 GB.
const garbagePercent = 20

// migration is Run or RunShard.
type migration func(*migrate.Migration, context.Context) (migrate.Summary, error)

// whatToDo is what a process on its own does with a migration.
func (c *migrateCommand) whatToDo() migration {
	if c.CompactOnly {
		return (*migrate.Migration).CompactOnly
	}
	return (*migrate.Migration).Run
}

// run runs a migration on the open checkpoint, or only restores settings. Meanwhile it
// answers Prometheus, and a person who sends SIGUSR1.
func (w *work) run(ctx context.Context, run migration) (r result, err error) {
	debug.SetGCPercent(garbagePercent)
	s := w.session
	m := migrate.New(s.Parts, w.options)
	if w.RestoreSettings {
		ctx, cancel := w.process.untilStopped(ctx)
		defer cancel()
		summary, err := m.RestoreSettings(ctx)
		if err == nil && w.JSON { // a person is told by the events
			r, err = newResult(ctx, summary, s.Rejects, nil)
			r.partial = true // that nodes were rejected is not what it was asked
		}
		return r, err
	}
	if w.MetricsAddr != "" {
		metrics := newMetrics(m, s, w.governor)
		served, serveErr := serveMetrics(w.MetricsAddr, metrics, metrics.events, metrics.bulks)
		if serveErr != nil {
			return r, serveErr
		}
		defer func() { err = errors.Join(err, served()) }()
		w.show.hear(metrics.event)
		if gate, ok := w.options.Gate.(*observedGate); ok {
			gate.observe.Store(metrics)
		}
	}
	defer onUser1(func() { w.show.state(w.state(m.Progress())) })()
	defer w.watch(ctx)()
	stop := w.show.tick(func(now time.Time) { w.show.progress(now, m.Progress()) })
	summary, err := run(m, ctx)
	stop()
	if err != nil && !errors.Is(err, migrate.ErrInterrupted) {
		return r, err
	}
	r, countErr := newResult(ctx, summary, s.Rejects, w.AcceptRejected.list)
	return r, errors.Join(countErr, w.disks.outcome(&r, err))
}

// waiting is told before each pause that the target makes necessary.
func (w *work) waiting(cause string, pause time.Duration) {
	w.governor.PushedBack()
	w.show.event(migrate.Event{Kind: migrate.Waiting, Cause: cause, Pause: pause})
}

func (w *work) state(p migrate.Progress) migrateState {
	return migrateState{headed("state"), p, w.governor.State()}
}
