package migrate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// reckoning is what both sides have of the part of a day that is judged.
type reckoning struct {
	day       node.Day
	index     target.Index
	until     int64 // end of the part, µs
	rows      int64
	documents int64
	rejected  int64
}

// vanished is how many documents have no row, at least. How many of the rows
// have no document, since they are rejected, is not known: the rejected ones may
// be deleted or rewritten by now.
func (r reckoning) vanished() int64 { return max(r.documents-r.rows, 0) }

// reconcile removes from the target what Sentry deleted at the source after it
// was copied, and notices daily indices that are gone. It costs a count for
// each day on both sides, and a closer look only where the counts differ.
func (m *Migration) reconcile(ctx context.Context) error {
	copied, err := m.copiedDays(ctx)
	if err != nil {
		return err
	}
	var days []reckoning
	for _, n := range copied {
		r, ok, err := m.reckon(ctx, n)
		if err = m.unlessGone(ctx, n, err); err != nil {
			return err
		}
		if ok {
			days = append(days, r)
		}
	}
	if err := m.plausible(days); err != nil {
		return err
	}
	for _, r := range days {
		if m.stopped() {
			return ErrInterrupted
		}
		if err := m.unlessGone(ctx, r.day, m.reconcileDay(ctx, r)); err != nil {
			return err
		}
	}
	return nil
}

// unlessGone returns an error, unless it says that a day's index was dropped
// this very moment: that is noted.
func (m *Migration) unlessGone(ctx context.Context, n node.Day, err error) error {
	if target.IsGone(err) {
		return m.missingIndex(ctx, n)
	}
	return err
}

// copiedDays are the days that have something of ours, oldest first: those that
// the checkpoint knows of, and those of indices that an earlier checkpoint made.
func (m *Migration) copiedDays(ctx context.Context) ([]node.Day, error) {
	holdings, err := m.target.Holdings(ctx)
	if err != nil {
		return nil, err
	}
	copied := make(map[node.Day]bool)
	for _, h := range holdings {
		copied[h.Day] = h.Daily && h.Ours && h.Origin == m.origin
	}
	m.checkpoint.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			if n, err := node.ParseDay(name); err == nil {
				copied[n] = d.Dropped.IsZero() && d.Index != ""
			}
		}
	})
	var days []node.Day
	for n, ok := range copied {
		if ok && n.Start() >= m.firstKept() && n < m.options.Until {
			days = append(days, n)
		}
	}
	slices.Sort(days)
	return days, nil
}

// reckon counts a day on both sides; ok is false if there is nothing to judge.
func (m *Migration) reckon(ctx context.Context, n node.Day) (r reckoning, ok bool, err error) {
	r.day = n
	if r.index, ok, err = m.target.Daily(ctx, n); err != nil {
		return r, false, err
	}
	if !ok {
		return r, false, m.missingIndex(ctx, n)
	}
	if r.index.Loading() { // all days are sealed
		if err := m.giveBackLate(ctx, r.index); err != nil {
			return r, false, err
		}
	}
	var started time.Time
	m.checkpoint.View(func(state *checkpoint.State) {
		started = state.Started
		if recorded, ok := state.Days[n.String()]; ok {
			r.rejected = recorded.Fates[node.Rejected]
		}
	})
	// Whatever else is in an index that was there before us is not ours to judge.
	if r.index.Origin == nil && r.index.Created().Before(started) {
		return r, false, nil
	}
	if r.until, err = m.judgedUntil(ctx, r); err != nil || r.until <= n.Start() {
		return r, false, err
	}
	if r.rows, err = m.source.Count(ctx, n.Start(), r.until); err != nil {
		return r, false, err
	}
	r.documents, err = m.target.CountBetween(ctx, r.index.Name, n.Start()/1000, r.until/1000)
	return r, err == nil, err
}

// giveBackLate ends the loading of an index that a request of a killed run made
// after the settings of its other indices were given back.
func (m *Migration) giveBackLate(ctx context.Context, index target.Index) error {
	if err := m.correctLoan(ctx, index); err != nil {
		return err
	}
	return m.restore(ctx, func(name string) bool { return name == index.Name })
}

// maxVanished is the share of the documents that may vanish between two runs
// without a question. Sentry's nightly cleanup takes one day of its retention.
const maxVanished = 0.1

// plausible refuses to empty the target after a source that was emptied:
// perhaps the table was truncated, or dropped and made anew, because it is no
// longer needed.
func (m *Migration) plausible(days []reckoning) error {
	var documents, vanished int64
	for _, r := range days {
		documents += r.documents
		vanished += r.vanished()
	}
	if m.options.RemoveVanished || float64(vanished) <= maxVanished*float64(documents) {
		return nil
	}
	return hint.Add(fmt.Errorf("%d of %d nodes are at the target and no longer at the source: nothing was removed", vanished, documents),
		"if the table was emptied because it is migrated, there is nothing to do; if Sentry deleted these nodes before the switch, "+
			"run again with --remove-vanished, or with --retention if they are only old")
}

func (m *Migration) reconcileDay(ctx context.Context, r reckoning) error {
	if r.rows == 0 && r.documents > 0 && r.index.Origin != nil && r.until == r.day.End() {
		if err := m.target.Drop(ctx, r.index.Name); err != nil && !target.IsGone(err) {
			return err
		}
		return m.recordDrop(ctx, r.day, r.index.Name)
	}
	compared := max(r.day.Start(), min(r.until, wholeMillis(m.now-2*m.overlap())))
	if r.documents != r.rows-r.rejected || !m.countsTell() {
		if err := m.removeVanished(ctx, r.index.Name, r.day.Start(), compared); err != nil {
			return err
		}
	}
	// Rows that come and go at this moment may cancel out in a count.
	if compared < r.until {
		return m.compareIDs(ctx, r.index.Name, compared, r.until)
	}
	return nil
}

// countsTell reports whether equal counts mean that nothing vanished. Where
// documents may be fewer than rows, a vanished one does not show: Sentry deletes
// documents after the switch, and an id that has several rows has one document.
func (m *Migration) countsTell() bool {
	return m.options.SwitchedAt == 0 && m.source.Relation().UniqueID
}

// judgedUntil is the end of the part of a day whose documents can only be ours:
// all of a day that this tool created, else what lies before the switch. As
// long as none is named, it may have happened after the newest row.
//
// A document keeps milliseconds, so the end is a whole one.
func (m *Migration) judgedUntil(ctx context.Context, r reckoning) (int64, error) {
	if m.options.SwitchedAt != 0 {
		return wholeMillis(min(r.day.End(), m.options.SwitchedAt)), nil
	}
	if r.index.Origin != nil {
		return r.day.End(), nil
	}
	_, newest, ok, err := m.source.Bounds(ctx)
	if err != nil || !ok {
		return r.day.Start(), err
	}
	return wholeMillis(min(r.day.End(), newest-m.overlap())), nil
}

func wholeMillis(micros int64) int64 { return micros - micros%1000 }

// missingIndex notes that a day's index is gone, if it should be there.
func (m *Migration) missingIndex(ctx context.Context, n node.Day) error {
	if !m.filled(n) {
		return nil
	}
	return m.recordDrop(ctx, n, m.target.Backend().IndexOf(n))
}

// filled reports whether documents are in a day's index, unless somebody
// dropped it.
func (m *Migration) filled(n node.Day) bool {
	var documents int64
	m.checkpoint.View(func(state *checkpoint.State) {
		if recorded, ok := state.Days[n.String()]; ok {
			f := recorded.Fates
			documents = f[node.Stored] + f[node.AlreadyThere] + f[node.Superseded]
		}
	})
	return documents > 0
}

// recordDrop keeps in mind that a day's index is gone, so that it is never made
// again. Its nodes are out of retention.
func (m *Migration) recordDrop(ctx context.Context, n node.Day, index string) error {
	err := m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		record := state.Day(n)
		transfer(&record.Fates, node.OutOfRetention, record.Fates.Sum())
		record.Dropped = time.Now().UTC()
		delete(state.Borrowed, index)
	})
	if err != nil {
		return err
	}
	m.notify(Event{Kind: Dropped, Day: n.String(), Index: index})
	return nil
}

// removeVanished finds the minutes in which an index may hold what the source
// has not, and compares ids only there.
func (m *Migration) removeVanished(ctx context.Context, index string, from, to int64) error {
	if from >= to {
		return nil
	}
	there, err := m.target.Moments(ctx, index, from/1000, to/1000)
	if err != nil {
		return err
	}
	rows, err := m.source.Moments(ctx, from, to)
	if err != nil {
		return err
	}
	for at, moment := range there {
		if rows[at*1000].Sum == moment.Sum {
			continue
		}
		if err := m.compareIDs(ctx, index, max(at*1000, from), min(at*1000+minute, to)); err != nil {
			return err
		}
	}
	return nil
}

// compareIDs removes from an index the documents of a short time that have no
// row any more.
func (m *Migration) compareIDs(ctx context.Context, index string, from, to int64) error {
	// A document keeps milliseconds: the rows of its whole millisecond count.
	rows := make(map[string]bool)
	err := m.source.Keys(ctx, from-from%1000, to, func(id []byte, _ int64) error {
		rows[string(id)] = true
		return nil
	})
	if err != nil {
		return err
	}
	return m.target.Between(ctx, index, from/1000, to/1000, func(copies []target.Copy) error {
		extra := slices.DeleteFunc(copies, func(c target.Copy) bool { return rows[c.ID] })
		for some := range slices.Chunk(extra, portion) {
			if err := m.judge(ctx, some); err != nil {
				return err
			}
		}
		return nil
	})
}

// judge decides about documents that have no row at their time. Without any
// row they have vanished. With one at another time they are stale, once that
// one's document is there: until then they stay, for a later pass.
func (m *Migration) judge(ctx context.Context, extra []target.Copy) error {
	ids := make([]string, len(extra))
	for i, c := range extra {
		ids[i] = c.ID
	}
	located := make(map[string]int64)
	err := m.source.Locate(ctx, ids, func(id []byte, micros int64) error {
		located[string(id)] = max(located[string(id)], micros)
		return nil
	})
	if err != nil {
		return err
	}
	var vanished []target.Copy
	moved := make(map[node.Day][]string)
	for _, c := range extra {
		micros, ok := located[c.ID]
		if !ok {
			vanished = append(vanished, c)
			continue
		}
		moved[node.DayOf(micros)] = append(moved[node.DayOf(micros)], c.ID)
	}
	for n, ids := range moved {
		if err := m.sweepIDs(ctx, m.target.Backend().IndexOf(n), ids); err != nil {
			return err
		}
	}
	return m.removeCopies(ctx, vanished, node.Vanished)
}
