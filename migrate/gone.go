package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// KeepAll is the Retention of a Sentry that keeps everything.
const KeepAll = -1

// LostDay is a day whose index is gone though no retention covers it.
type LostDay struct {
	Day   string `json:"day"`
	Index string `json:"index"`
	Nodes int64  `json:"nodes"` // that were in it
}

// recordRetention keeps the retention: it belongs to the migration, and later
// runs need not name it again.
func (m *Migration) recordRetention(ctx context.Context) error {
	var recorded int
	m.checkpoint.View(func(state *checkpoint.State) { recorded = state.CatchUp.Retention })
	if m.options.Retention == 0 {
		m.options.Retention = recorded
		return nil
	}
	m.options.Retention = max(m.options.Retention, 0)
	if m.options.Retention == recorded {
		return nil
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) { state.CatchUp.Retention = m.options.Retention })
}

// covered reports whether Sentry's cleanup may have dropped a day's index by
// now: only a retention that was given says so.
func (m *Migration) covered(n node.Day, now int64) bool {
	return m.options.Retention > 0 && n.Start() < now-int64(m.options.Retention)*dayMicros
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// recordGone keeps in mind that a day's index is gone, so that it is never made
// again by itself. Its nodes are out of retention if one covers the day, and
// lost if not.
func (m *Migration) recordGone(ctx context.Context, n node.Day) (node.Fate, error) {
	now, err := m.options.Now(ctx)
	if err != nil {
		return 0, err
	}
	index, event := m.target.Backend().IndexOf(n), Event{Kind: Lost, Day: n.String()}
	fate, known := node.Lost, false
	if m.covered(n, max(now, m.now)) {
		fate, event.Kind = node.OutOfRetention, Dropped
	}
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		record := state.Day(n)
		gone := &record.Lost
		if fate == node.OutOfRetention {
			gone, record.Lost = &record.Dropped, time.Time{}
		} else {
			record.Dropped = time.Time{}
		}
		if known = !gone.IsZero(); !known {
			*gone = time.Now().UTC()
		}
		for _, from := range []node.Fate{node.Stored, node.AlreadyThere, node.Superseded, node.OutOfRetention, node.Lost} {
			moved := record.Fates[from]
			record.Fates[from] = 0
			record.Fates[fate] += moved
		}
		event.Nodes = record.Fates[fate]
		delete(state.Borrowed, index)
	})
	if event.Index = index; err == nil && !known {
		m.notify(event)
	}
	return fate, err
}

// settleGone looks for daily indices that should be there and are not, and
// judges those again that were found gone before: the retention may be another
// one now, and time passes.
func (m *Migration) settleGone(ctx context.Context, holdings []target.Holding) error {
	there := make(map[string]bool, len(holdings))
	for _, h := range holdings {
		there[h.Name] = true
	}
	var judged, doubtful []node.Day
	m.checkpoint.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			n, err := node.ParseDay(name)
			if err != nil || m.ours != nil && !m.ours(n) {
				continue
			}
			settled, lost := !d.Dropped.IsZero(), !d.Lost.IsZero()
			switch {
			case (settled || lost) && settled != m.covered(n, m.now): // also if an index has that name again
				judged = append(judged, n)
			case !settled && !lost && atTarget(d.Fates) > 0 && !there[d.Index]:
				doubtful = append(doubtful, n)
			}
		}
	})
	for _, n := range doubtful {
		_, there, err := m.target.Daily(ctx, n)
		if err != nil {
			return err
		}
		if !there {
			judged = append(judged, n)
		}
	}
	for _, n := range judged {
		if _, err := m.recordGone(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// unlessGone returns an error, unless it says that a day's index was dropped at
// this very moment: that is noted.
func (m *Migration) unlessGone(ctx context.Context, n node.Day, err error) error {
	if !target.IsGone(err) {
		return err
	}
	_, there, looked := m.target.Daily(ctx, n)
	if looked != nil || there {
		return errors.Join(err, looked)
	}
	if m.filled(n) {
		_, err = m.recordGone(ctx, n)
		return err
	}
	return nil
}

// atTarget is how many nodes of these fates are documents, or were.
func atTarget(f node.Fates) int64 {
	return f[node.Stored] + f[node.AlreadyThere] + f[node.Superseded] + f[node.Lost]
}

// filled reports whether documents were written to a day's index.
func (m *Migration) filled(n node.Day) (filled bool) {
	m.checkpoint.View(func(state *checkpoint.State) {
		recorded, ok := state.Days[n.String()]
		filled = ok && atTarget(recorded.Fates) > 0
	})
	return filled
}

// copyAgain forgets what is recorded of the days that are to be copied again,
// so that this run and the next ones copy them like any other. A day that is
// not lost is left alone: the same command may have begun with it before.
func (m *Migration) copyAgain(ctx context.Context) error {
	for _, n := range m.options.CopyAgain {
		var lost bool
		m.checkpoint.View(func(state *checkpoint.State) {
			recorded, ok := state.Days[n.String()]
			lost = ok && !recorded.Lost.IsZero()
		})
		if !lost {
			m.notify(Event{Kind: Warning, Day: n.String(), Cause: fmt.Sprintf("day %s is not lost: there is nothing to copy again", n)})
			continue
		}
		err := m.checkpoint.Update(ctx, func(state *checkpoint.State) {
			state.Days[n.String()] = &checkpoint.Day{}
			delete(state.Borrowed, m.target.Backend().IndexOf(n))
			state.CatchUp.Swept = min(state.CatchUp.Swept, n.Start()) // an older copy elsewhere was the last one
			maps.DeleteFunc(state.CatchUp.Recent, func(at int64, _ []byte) bool { return node.DayOf(at) == n })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// markGone says of a day that is being copied that its index is gone.
func (m *Migration) markGone(ctx context.Context, d *day) error {
	d.goneMu.Lock()
	defer d.goneMu.Unlock()
	if d.gone.Load() {
		return nil
	}
	fate, err := m.recordGone(ctx, d.day)
	if err != nil {
		return err
	}
	d.goneFate = fate
	d.gone.Store(true)
	return nil
}

// sameIndex reports whether an index is the one that a day's nodes went to, or
// has as many documents, as after a restore from a snapshot. If not, somebody
// dropped that one, and it was made again since.
func (m *Migration) sameIndex(ctx context.Context, found target.Index) (bool, error) {
	var record checkpoint.Day
	m.checkpoint.View(func(state *checkpoint.State) {
		if recorded, ok := state.Days[found.Day.String()]; ok {
			record = *recorded
		}
	})
	if record.UUID == "" || record.UUID == found.UUID {
		return true, nil
	}
	if err := m.target.Refresh(ctx, found.Name); err != nil {
		return false, err
	}
	counted, err := m.target.Count(ctx, found.Name)
	return counted >= record.Fates[node.Stored]+record.Fates[node.AlreadyThere], err
}

// recallGone lets a day know that its index was found gone before.
func (m *Migration) recallGone(d *day) {
	m.checkpoint.View(func(state *checkpoint.State) {
		recorded, ok := state.Days[d.day.String()]
		switch {
		case !ok:
			return
		case !recorded.Lost.IsZero():
			d.goneFate = node.Lost
		case !recorded.Dropped.IsZero():
			d.goneFate = node.OutOfRetention
		}
		d.gone.Store(d.goneFate != 0)
	})
}
