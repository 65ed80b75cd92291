package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	// complete: all of the day is copied when what is missing is, because it is
	// over, or the switch is.
	complete bool
	// gone: the index went away; what is left is not copied, and has goneFate.
	gone     atomic.Bool
	goneFate node.Fate
	goneMu   sync.Mutex // held while that is found out
}

func (d *day) name() string { return d.index.Name }

// mode is how the day's nodes are written: a version of ours would overwrite
// what Sentry wrote, so it is used only where Sentry never wrote.
func (d *day) mode() target.Mode {
	if !d.index.Versioned() {
		return target.CreateOnly
	}
	return target.Versioned
}

// newDay describes a day; its index is not looked at yet.
func (m *Migration) newDay(n node.Day) *day {
	d := &day{day: n}
	d.hot = n.End()+m.options.Overlap.Microseconds() > m.now ||
		m.options.SwitchedAt != 0 && n >= node.DayOf(m.options.SwitchedAt)
	d.complete = n.End() <= m.now || m.options.SwitchedAt != 0 && m.options.SwitchedAt+m.overlap() <= m.now
	d.index.Name, d.index.SwitchedAt, d.index.Wrote = m.target.Backend().IndexOf(n), m.options.SwitchedAt, m.marked
	return d
}

// plan lists the days that have something to be copied or sealed before the
// end of this pass, in the order of copying, and starts the progress again.
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
	if !done.Dropped.IsZero() || !done.Lost.IsZero() || len(d.missing) == 0 && (!done.Sealed.IsZero() || !d.complete) {
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
		return sizes, m.forgetRetired(ctx, sizes)
	}
	var kept []source.DaySize
	for _, size := range sizes {
		if !m.covered(size.Day, m.now) {
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
	return kept, m.forgetRetired(ctx, kept)
}

// forgetRetired takes back that days were out of retention: it is longer now,
// and they are copied.
func (m *Migration) forgetRetired(ctx context.Context, kept []source.DaySize) error {
	var retired []node.Day
	m.checkpoint.View(func(state *checkpoint.State) {
		for _, size := range kept {
			if d, ok := state.Days[size.Day.String()]; ok && d.Fates[node.OutOfRetention] > 0 && d.Dropped.IsZero() && d.Lost.IsZero() {
				retired = append(retired, size.Day)
			}
		}
	})
	if len(retired) == 0 {
		return nil
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		for _, n := range retired {
			state.Day(n).Fates[node.OutOfRetention] = 0
		}
	})
}

// prepare makes a day's index ready to be written, creating that of a past day
// for loading, and another one as the backend's first write would. The loan is
// in the checkpoint before anything is changed.
func (m *Migration) prepare(ctx context.Context, d *day) error {
	found, ok, err := m.target.Daily(ctx, d.day)
	if err != nil {
		return err
	}
	if ok {
		return m.adopt(ctx, d, found)
	}
	if m.filled(d.day) { // it was dropped while nobody looked
		return m.markGone(ctx, d)
	}
	if err := m.create(ctx, d); err != nil {
		return err
	}
	if found, ok, err = m.target.Daily(ctx, d.day); err != nil {
		return err
	}
	if !ok { // dropped this very moment
		return m.markGone(ctx, d)
	}
	err = m.adopt(ctx, d, found)
	if found.Problem() != "" && found.Loading() { // the template was changed since it was looked at
		err = hint.Add(errors.Join(err, m.target.Drop(ctx, found.Name)), "it held nothing and is removed again; make the template what the backend asks for, then run the same command again")
	}
	return err
}

// create creates the index of a day.
func (m *Migration) create(ctx context.Context, d *day) error {
	if d.hot {
		return m.target.CreateShared(ctx, d.name(), m.origins[0])
	}
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
	if err := m.target.Create(ctx, d.name(), loan, m.origins[0]); !errors.Is(err, target.ErrExists) {
		return err
	}
	return nil // somebody else was faster: it is adopted
}

// adopt takes an index that is there for a day's.
func (m *Migration) adopt(ctx context.Context, d *day, found target.Index) error {
	same, err := m.sameIndex(ctx, found)
	if err != nil {
		return err
	}
	if !same {
		return m.markGone(ctx, d)
	}
	d.index = found
	d.index.SwitchedAt, d.index.Wrote = m.options.SwitchedAt, m.marked
	if err := m.checkIndex(ctx, found); err != nil {
		return err
	}
	var known bool
	m.checkpoint.View(func(state *checkpoint.State) {
		recorded, ok := state.Days[d.day.String()]
		known = ok && recorded.UUID == found.UUID
	})
	if !known {
		err := m.checkpoint.Update(ctx, func(state *checkpoint.State) { state.Day(d.day).UUID = found.UUID })
		if err != nil {
			return err
		}
	}
	return m.correctLoan(ctx, found)
}

// correctLoan makes the record of what an index has lent fit the index. It does
// not if a request of a run that was killed arrived late, or if the checkpoint
// was lost: then an index is being loaded and nobody would give anything back.
// And an index that was dropped and made again has lent nothing.
func (m *Migration) correctLoan(ctx context.Context, index target.Index) error {
	var loan checkpoint.Borrowed
	var recorded bool
	m.checkpoint.View(func(state *checkpoint.State) { loan, recorded = state.Borrowed[index.Name] })
	switch {
	case recorded && !lent(index, loan):
		return m.checkpoint.Update(ctx, func(state *checkpoint.State) { delete(state.Borrowed, index.Name) })
	case recorded && loan.UUID == index.UUID || !recorded && !index.Loading():
		return nil
	case !recorded:
		fresh, err := m.target.Loan(ctx, index.Name)
		if err != nil {
			return err
		}
		loan = checkpoint.Borrowed{Settings: fresh.Return, At: time.Now().UTC()}
	}
	loan.UUID = index.UUID
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) { state.Borrowed[index.Name] = loan })
}

// checkIndex refuses to write where Sentry would not read it, where another
// region's nodes are (promise 9), and where an answer does not mean that it is
// on disk (promise 4). Another region's
// run may have begun at the same moment as this one.
func (m *Migration) checkIndex(ctx context.Context, index target.Index) error {
	if problem := index.Problem(); problem != "" {
		return hint.Add(fmt.Errorf("index %s: %s", index.Name, problem),
			"nothing was written to it; make it what the backend's template asks for, or move it away, then run the same command again")
	}
	if index.Origin != nil && !m.origins.Have(*index.Origin) {
		return m.target.CheckOrigin(ctx, m.origins)
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
		if rows += s.Rows; s.Rows > 0 && !m.source.Relation().UniqueID {
			m.oldest = min(m.oldest, s.From)
		}
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
	if d.gone.Load() { // what was under way then is gone as well
		_, err := m.recordGone(ctx, d.day)
		return err
	}
	if err := m.clearRewritten(ctx, d); err != nil {
		return err
	}
	found, there, err := m.target.Daily(ctx, d.day)
	if err != nil {
		return err
	}
	if !there || found.UUID != d.index.UUID {
		return m.markGone(ctx, d)
	}
	var loan checkpoint.Borrowed
	m.checkpoint.View(func(state *checkpoint.State) { loan = state.Borrowed[d.name()] })
	if err := m.giveBack(ctx, found, loan); err != nil {
		return err
	}
	if !d.complete {
		if d.fresh {
			m.notify(Event{Kind: DayOpen, Day: d.day.String(), Index: d.name()})
		}
		return nil
	}
	counted, err := m.target.Count(ctx, d.name())
	if target.IsGone(err) {
		return m.markGone(ctx, d)
	}
	if err != nil {
		return err
	}
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		delete(state.Borrowed, d.name())
		record := state.Day(d.day)
		record.Index, record.Sealed, record.Counted = d.name(), time.Now().UTC(), counted
	})
	if err == nil {
		m.notify(Event{Kind: DaySealed, Day: d.day.String(), Index: d.name(), Nodes: counted})
	}
	return err
}

// giveBack makes an index durable and visible, then gives its settings back:
// replicas last, so that they copy segments and need replay nothing. An index
// that was made again since has lent nothing.
func (m *Migration) giveBack(ctx context.Context, index target.Index, loan checkpoint.Borrowed) error {
	err := m.target.Refresh(ctx, index.Name)
	if err == nil {
		err = m.target.Flush(ctx, index.Name)
	}
	if err == nil && loan.Settings != nil && lent(index, loan) {
		err = m.target.Return(ctx, index.Name, loan.Settings)
	}
	if target.IsGone(err) {
		return nil // an index that is gone has nothing to get back
	}
	return err
}
