package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// day is a day that this run has to do something about.
type day struct {
	day     node.Day
	index   target.Index // once it is prepared
	missing []checkpoint.Range
	planned source.DaySize
	// open is the number of slices that are not in the checkpoint.
	open atomic.Int64
	// hot: Sentry may write to its index, which is left as it is.
	hot bool
	// fresh: something was there to be copied.
	fresh bool
	// complete: all of the day is copied when what is missing is.
	complete bool
	// dropped: the index went away meanwhile; what is left is not copied.
	dropped atomic.Bool
}

func (d *day) name() string { return d.index.Name }

// mode is how the day's nodes are written: a version of ours would overwrite
// what Sentry wrote, so it is used only where Sentry never wrote.
func (d *day) mode() target.Mode {
	if d.index.Origin == nil {
		return target.CreateOnly
	}
	return target.Versioned
}

// newDay describes a day; its index is not looked at yet.
func (m *Migration) newDay(n node.Day) *day {
	d := &day{day: n}
	d.hot = n.End()+m.options.Overlap.Microseconds() > m.now ||
		m.options.SwitchedAt != 0 && n >= node.DayOf(m.options.SwitchedAt)
	d.complete = n.End() <= m.now
	d.index.Name, d.index.SwitchedAt = m.target.Backend().IndexOf(n), m.options.SwitchedAt
	return d
}

// plan lists the days that have something to be copied or sealed before the
// end of this pass, in the order of copying, and starts the progress anew.
func (m *Migration) plan(ctx context.Context) ([]*day, error) {
	until := min(m.now, m.options.Until.Start())
	sizes, err := m.source.Days(ctx, m.options.Since.Start(), until)
	if err != nil {
		return nil, err
	}
	if m.ours != nil {
		sizes = slices.DeleteFunc(sizes, func(size source.DaySize) bool { return !m.ours(size.Day) })
	}
	if sizes, err = m.withinRetention(ctx, sizes); err != nil {
		return nil, err
	}
	m.progress.begin()
	var days []*day
	m.checkpoint.View(func(state *checkpoint.State) {
		for _, size := range sizes {
			if d := m.planDay(state, size, until); d != nil {
				days = append(days, d)
			}
		}
	})
	if !m.options.OldestFirst {
		slices.Reverse(days)
	}
	return days, m.recordPlan(ctx, days)
}

// recordPlan puts what is to come into the checkpoint, so that `status` can
// tell what remains while this process works.
func (m *Migration) recordPlan(ctx context.Context, days []*day) error {
	if len(days) == 0 {
		return nil
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		for _, d := range days {
			state.Day(d.day).Planned = d.planned.Bytes
		}
	})
}

// planDay returns what is to be done for a day, or nil if that is nothing.
func (m *Migration) planDay(state *checkpoint.State, size source.DaySize, until int64) *day {
	var done checkpoint.Day
	if recorded, known := state.Days[size.Day.String()]; known {
		done = *recorded
	}
	m.progress.doneBytes.Add(done.Bytes)
	m.progress.doneNodes.Add(done.Fates.Sum())
	d := m.newDay(size.Day)
	d.planned = size
	d.missing = done.Done.Missing(size.Day.Start(), min(size.Day.End(), until))
	if !done.Dropped.IsZero() || len(d.missing) == 0 && (!done.Sealed.IsZero() || !d.complete) {
		m.progress.plannedBytes.Add(done.Bytes)
		m.progress.plannedNodes.Add(done.Fates.Sum())
		return nil
	}
	m.progress.plannedBytes.Add(max(size.Bytes, done.Bytes))
	m.progress.plannedNodes.Add(max(size.Rows, done.Fates.Sum()))
	return d
}

// withinRetention leaves out the days that Sentry's cleanup would drop. Their
// rows are counted instead of copied.
func (m *Migration) withinRetention(ctx context.Context, sizes []source.DaySize) ([]source.DaySize, error) {
	if m.options.Retention == 0 {
		return sizes, nil
	}
	cutoff := m.now - int64(m.options.Retention)*(24*time.Hour).Microseconds()
	var kept []source.DaySize
	for _, size := range sizes {
		if size.Day.Start() >= cutoff {
			kept = append(kept, size)
			continue
		}
		if m.counted {
			continue
		}
		rows, err := m.source.Count(ctx, size.Day.Start(), size.Day.End())
		if err != nil {
			return nil, err
		}
		err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
			fates := &state.Day(size.Day).Fates
			fates[node.OutOfRetention] = 0
			fates[node.OutOfRetention] = max(rows-fates.Sum(), 0)
		})
		if err != nil {
			return nil, err
		}
	}
	m.counted = true
	return kept, nil
}

// prepare makes a day's index ready to be written, creating that of a past day
// for loading. The loan is in the checkpoint before anything is changed.
func (m *Migration) prepare(ctx context.Context, d *day) error {
	found, ok, err := m.target.Daily(ctx, d.day)
	if err != nil {
		return err
	}
	switch {
	case ok:
		d.index = found
		d.index.SwitchedAt = m.options.SwitchedAt
		if err := m.checkIndex(ctx, found); err != nil {
			return err
		}
		return m.correctLoan(ctx, found)
	case d.hot: // the first write creates it as Sentry's would
		return nil
	case m.filled(d.day): // it was dropped while nobody looked
		d.dropped.Store(true)
		return nil
	}
	return m.create(ctx, d)
}

func (m *Migration) create(ctx context.Context, d *day) error {
	loan, err := m.target.Loan(ctx, d.name())
	if err != nil {
		return err
	}
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		state.Day(d.day).Index = d.name()
		state.Borrowed[d.name()] = checkpoint.Borrowed{Settings: loan.Return, At: time.Now().UTC()}
	})
	if err != nil {
		return err
	}
	err = m.target.Create(ctx, d.name(), loan, m.origin)
	if errors.Is(err, target.ErrExists) {
		return m.prepare(ctx, d)
	}
	if err != nil {
		return err
	}
	found, ok, err := m.target.Daily(ctx, d.day)
	if err != nil {
		return err
	}
	if !ok { // dropped this very moment
		d.dropped.Store(true)
		return nil
	}
	d.index = found
	d.index.SwitchedAt = m.options.SwitchedAt
	return nil
}

// correctLoan makes the record of what an index has lent fit the index. It does
// not if a request of a run that was killed arrived late, or if the checkpoint
// was lost: then an index is being loaded and nobody would give anything back,
// or somebody else made it and there is nothing to give back.
func (m *Migration) correctLoan(ctx context.Context, index target.Index) error {
	var recorded bool
	m.checkpoint.View(func(state *checkpoint.State) { _, recorded = state.Borrowed[index.Name] })
	switch {
	case recorded && index.Origin == nil:
		return m.checkpoint.Update(ctx, func(state *checkpoint.State) { delete(state.Borrowed, index.Name) })
	case recorded || !index.Loading():
		return nil
	}
	loan, err := m.target.Loan(ctx, index.Name)
	if err != nil {
		return err
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		state.Borrowed[index.Name] = checkpoint.Borrowed{Settings: loan.Return, At: time.Now().UTC()}
	})
}

// checkIndex refuses to write where another region's nodes are (promise 9), and
// where an answer does not mean that it is on disk (promise 4). Another region's
// run may have begun at the same moment as this one.
func (m *Migration) checkIndex(ctx context.Context, index target.Index) error {
	if index.Origin != nil && !index.Origin.Same(m.origin) {
		return m.target.CheckOrigin(ctx, m.origin)
	}
	if !index.Durable() {
		return hint.Add(fmt.Errorf("index %s has index.translog.durability=async: what it takes may be lost", index.Name),
			"set it to request for that index while it is migrated: PUT /"+index.Name+`/_settings {"index.translog.durability":"request"}`)
	}
	return nil
}

// measure finds the slices of what is missing of a day, and makes the day's
// part of the progress exact.
func (m *Migration) measure(ctx context.Context, d *day) ([]source.Slice, error) {
	var found []source.Slice
	var bytes, rows int64
	for _, r := range d.missing {
		part, err := m.source.Slices(ctx, r.From, r.To, batchesPerSlice*int64(m.options.BatchBytes))
		if err != nil {
			return nil, err
		}
		found = append(found, part...)
	}
	for _, s := range found {
		bytes += s.Bytes
		rows += s.Rows
	}
	var doneBytes, doneRows int64
	m.checkpoint.View(func(state *checkpoint.State) {
		if recorded, ok := state.Days[d.day.String()]; ok {
			doneBytes, doneRows = recorded.Bytes, recorded.Fates.Sum()
		}
	})
	m.progress.plannedBytes.Add(doneBytes + bytes - max(d.planned.Bytes, doneBytes))
	m.progress.plannedNodes.Add(doneRows + rows - max(d.planned.Rows, doneRows))
	if d.fresh = rows > 0; d.fresh {
		m.notify(Event{Kind: DayStarted, Day: d.day.String(), Index: d.name(), Nodes: rows, Bytes: bytes})
	}
	if !m.options.OldestFirst {
		slices.Reverse(found)
	}
	return found, nil
}

// seal finishes a day: refreshed, flushed, settings given back, counted. Each
// step can be repeated, so a crash between any two of them costs nothing. A day
// that is not over is made visible and stays open.
func (m *Migration) seal(ctx context.Context, d *day) error {
	if d.dropped.Load() {
		return m.recordDrop(ctx, d.day, d.name())
	}
	if err := m.clearRewritten(ctx, d); err != nil {
		return err
	}
	var loan checkpoint.Borrowed
	m.checkpoint.View(func(state *checkpoint.State) { loan = state.Borrowed[d.name()] })
	if err := m.giveBack(ctx, d.name(), loan); err != nil {
		return err
	}
	if !d.complete {
		if d.fresh {
			m.notify(Event{Kind: DayOpen, Day: d.day.String(), Index: d.name()})
		}
		return nil
	}
	counted, err := m.target.Count(ctx, d.name())
	if target.IsGone(err) && m.filled(d.day) {
		return m.recordDrop(ctx, d.day, d.name())
	}
	if err != nil && !target.IsGone(err) {
		return err
	}
	var expected int64
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		delete(state.Borrowed, d.name())
		record := state.Day(d.day)
		record.Index, record.Sealed, record.Counted = d.name(), time.Now().UTC(), counted
		expected = record.Fates[node.Stored] + record.Fates[node.AlreadyThere]
	})
	if err != nil {
		return err
	}
	if counted < expected && m.source.Relation().UniqueID && m.options.SwitchedAt == 0 {
		if err := m.explainShort(ctx, d, expected-counted); err != nil {
			return err
		}
	}
	m.notify(Event{Kind: DaySealed, Day: d.day.String(), Index: d.name(), Nodes: counted})
	return nil
}

// explainShort looks at the source when a day's index has fewer documents than
// it took. It may be right: an answer that a crash swallowed would have said
// that a rewritten node took the place of its older self, or that a copy was
// removed.
func (m *Migration) explainShort(ctx context.Context, d *day, missing int64) error {
	rows, err := m.source.Count(ctx, d.day.Start(), d.day.End())
	if err != nil {
		return err
	}
	var record checkpoint.Day
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		record = *state.Day(d.day)
		if record.Counted >= rows-record.Fates[node.Rejected] {
			transfer(&state.Day(d.day).Fates, node.Superseded, missing)
		}
	})
	if err != nil || record.Counted >= rows-record.Fates[node.Rejected] {
		return err
	}
	m.progress.short.Add(1)
	m.notify(Event{
		Kind: Short, Day: d.day.String(), Index: d.name(), Nodes: record.Counted,
		Cause: fmt.Sprintf("%d documents are missing of those that it took", missing),
	})
	return nil
}

// giveBack makes an index durable and visible, then gives its settings back:
// replicas last, so that they copy segments and need replay nothing.
func (m *Migration) giveBack(ctx context.Context, index string, loan checkpoint.Borrowed) error {
	err := m.target.Refresh(ctx, index)
	if err == nil {
		err = m.target.Flush(ctx, index)
	}
	if err == nil && loan.Settings != nil {
		err = m.target.Return(ctx, index, loan.Settings)
	}
	if target.IsGone(err) {
		return nil // an index that is gone has nothing to get back
	}
	return err
}
