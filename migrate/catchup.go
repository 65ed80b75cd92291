package migrate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

const (
	// closeEnough is how short a pass must be for the copy to count as caught
	// up with a Sentry that never stops writing.
	closeEnough = 10 * time.Second
	// followPause is the pause between two passes of Follow.
	followPause = 2 * time.Second
	// compareInterval is how often Follow compares all days on both sides.
	compareInterval = 15 * time.Minute
	// tellInterval is how often passes that find nothing are told of.
	tellInterval = 30 * time.Second
	minute       = int64(time.Minute / time.Microsecond)
)

// catchUp makes passes over the source: the first one is the copy. It ends when
// a pass finds nothing new, or took so little time that the next would not
// find less; with Follow, when it was quiet for long enough.
func (m *Migration) catchUp(ctx context.Context) error {
	var quiet time.Duration
	var told time.Time
	compared := time.Now()
	for {
		began := time.Now()
		before := m.progress.sentNodes.Load()
		if err := m.again(ctx, m.pass); err != nil {
			return err
		}
		fresh, took := m.progress.sentNodes.Load()-before, time.Since(began)
		if fresh > 0 || time.Since(told) >= tellInterval {
			told = time.Now()
			m.notify(Event{Kind: CaughtUp, Nodes: fresh, Behind: took})
		}
		if !m.options.Follow && (fresh == 0 || took < closeEnough) {
			return nil
		}
		if m.stopped() {
			return ErrInterrupted
		}
		if m.options.Follow && time.Since(compared) >= compareInterval {
			if err := m.again(ctx, m.compareSides); err != nil {
				return err
			}
			compared = time.Now()
		}
		if fresh > 0 {
			quiet = 0
		}
		if m.options.Follow && m.options.QuietFor > 0 && quiet >= m.options.QuietFor {
			return nil
		}
		if m.options.Follow {
			quiet += followPause
			if err := m.wait(ctx, followPause); err != nil {
				return err
			}
		}
	}
}

// maxTries is how often in a row, without a slice in between, work may fail for
// want of the source before the run gives up: the source's own patience is half
// a minute each time, so after five minutes and more.
const maxTries = 10

// again repeats what was cut short because the source went away: it resumes
// where it was, as another run would.
func (m *Migration) again(ctx context.Context, work func(context.Context) error) error {
	for try := 1; ; try++ {
		before := m.commits.Load()
		err := work(ctx)
		if m.commits.Load() > before {
			try = 1
		}
		if err == nil || ctx.Err() != nil || !source.Retryable(err) || try == maxTries {
			return err
		}
		pause := retryPause(try)
		m.notify(Event{Kind: Waiting, Cause: err.Error(), Pause: pause})
		if err := m.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// wait pauses, and ends early when the run is to stop.
func (m *Migration) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.options.Stop:
		return ErrInterrupted
	case <-timer.C:
		return nil
	}
}

// pass is one sweep over what is new at the source.
//
//  1. Rows up to the present are copied by slices, and their days sealed.
//  2. Rows that were committed late, before the end of an earlier pass or with
//     a clock that is ahead, are copied one by one.
//  3. Stale copies of rows that Sentry rewrote since the first run are removed.
//
// A pass that is cut short leaves the record of what is still to be looked at,
// so that the next one does.
func (m *Migration) pass(ctx context.Context) error {
	if err := m.advance(ctx); err != nil {
		return err
	}
	if err := m.copyDays(ctx); err != nil {
		return err
	}
	if err := m.copyLate(ctx); err != nil {
		return err
	}
	if err := m.sweepStale(ctx); err != nil {
		return err
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		state.CatchUp.Windows, state.CatchUp.Swept = nil, m.swept(state.CatchUp.Swept)
		state.CatchUp.Forget(func(at int64) bool { return at+minute <= m.now-m.overlap() && !m.switchedBefore(at+minute) })
	})
}

// switchedBefore reports whether a time is after the switch. What a row with
// such a timestamp left must not be taken for what Sentry wrote.
func (m *Migration) switchedBefore(micros int64) bool {
	return m.options.SwitchedAt != 0 && micros > m.options.SwitchedAt
}

// copyDays copies by slices what is missing up to the end of this pass.
func (m *Migration) copyDays(ctx context.Context) error {
	m.recall()
	days, err := m.plan(ctx)
	if err != nil {
		return err
	}
	if err := m.checkDays(ctx, days); err != nil {
		return err
	}
	if err := m.restoreOthers(ctx, days); err != nil {
		return err
	}
	return m.copy(ctx, days)
}

// checkDays refuses, before anything is read, days whose index would not hold
// what Sentry reads, or would not be found: a template may match only some days.
func (m *Migration) checkDays(ctx context.Context, days []*day) error {
	numbers := make([]node.Day, len(days))
	for i, d := range days {
		numbers[i] = d.day
	}
	return m.target.CheckDays(ctx, numbers)
}

// young reports whether rows beside one of this timestamp may be committed
// after its slice was read: shortly before the end of this pass, or of an
// earlier one whose late rows were not looked for yet.
func (m *Migration) young(micros int64) bool {
	for _, w := range m.windows {
		if micros >= w.From && micros < w.To {
			return true
		}
	}
	return micros >= m.now-m.overlap() || m.switchedBefore(micros)
}

func (m *Migration) overlap() int64 { return m.options.Overlap.Microseconds() }

// advance moves the end of the copy to the present. The first time it also
// notes whether the target had documents before.
func (m *Migration) advance(ctx context.Context) error {
	var err error
	if m.now, err = m.options.Now(ctx); err != nil {
		return err
	}
	m.oldest = m.now
	var first bool
	m.checkpoint.View(func(state *checkpoint.State) { first = state.CopyUntil == 0 })
	var shared bool
	if first {
		if shared, err = m.hasDocuments(ctx); err != nil {
			return err
		}
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		c := &state.CatchUp
		if first {
			c.Swept = m.swept(m.now)
			// An id can be in several days already if somebody copied before us, or
			// if the source itself repeats ids.
			if shared || !m.source.Relation().UniqueID {
				c.Swept = checkpoint.NeverSwept
			}
		} else {
			// What has its fate is remembered as far back as that pass looked: with
			// another overlap now, more would be counted twice, and sent again.
			c.Windows = append(c.Windows, checkpoint.Range{From: state.CopyUntil - c.Overlap, To: state.CopyUntil})
		}
		state.CopyUntil, c.Overlap = m.now, m.overlap()
		m.windows = slices.Clone(c.Windows)
	})
}

// swept is the time before which ids are in one day only, once a pass is over
// that began with another such time.
func (m *Migration) swept(before int64) int64 {
	if before == checkpoint.NeverSwept && m.options.Since > node.MinDay {
		return before // nobody looked at the days before
	}
	return min(m.now, m.options.Until.Start())
}

// hasDocuments reports whether anything is behind the alias, be it visible to
// searches or not.
func (m *Migration) hasDocuments(ctx context.Context) (bool, error) {
	alias := m.target.Backend().Alias
	err := m.target.Refresh(ctx, alias)
	if target.IsGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n, err := m.target.Count(ctx, alias)
	if target.IsGone(err) {
		return false, nil
	}
	return n > 0, err
}

// recordSwitch keeps the time of the switch: it belongs to the migration, and
// later runs need not name it again.
func (m *Migration) recordSwitch(ctx context.Context) error {
	var recorded int64
	m.checkpoint.View(func(state *checkpoint.State) { recorded = state.CatchUp.SwitchedAt })
	given := m.options.SwitchedAt
	if given == 0 || given == recorded {
		m.options.SwitchedAt = recorded
		return nil
	}
	if recorded != 0 {
		return hint.Add(fmt.Errorf("the switch is recorded at %s, and --switched-at says %s", isoTime(recorded), isoTime(given)),
			"leave --switched-at out: the checkpoint knows it")
	}
	now, err := m.options.Now(ctx)
	if err != nil {
		return err
	}
	// A standby's clock is behind, so this machine's own counts too.
	if now = max(now, time.Now().UnixMicro()); given > now {
		return hint.Add(fmt.Errorf("the switch is said to be at %s, and it is %s now", isoTime(given), isoTime(now)),
			"name a moment before the first process with the new configuration started, in UTC or with its time zone: 2025-09-01T14:30:00+02:00")
	}
	var copied int64
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) { state.CatchUp.SwitchedAt, copied = given, state.CopyUntil })
	if err == nil && copied > given {
		m.notify(Event{Kind: Warning, Cause: fmt.Sprintf("the switch at %s is from before an earlier run ended, at %s: of rows between the two that were written again since, "+
			"the documents of that run stay, because they cannot be told from Sentry's own", isoTime(given), isoTime(copied))})
	}
	return err
}

// recordCompleted keeps what a run that came to its end has seen.
func (m *Migration) recordCompleted(ctx context.Context) error {
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		state.CatchUp.Completed = &checkpoint.Completed{
			Until: m.now, At: time.Now().UTC(), Switched: m.options.SwitchedAt != 0,
			Whole: m.options.Since <= node.MinDay && m.options.Until > node.MaxDay,
		}
	})
}
