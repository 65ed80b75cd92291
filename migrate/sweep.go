package migrate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// sweepStale removes the copies that rewritten nodes left behind in other days.
// Only ids with a timestamp since the last sweep can have been rewritten since.
// All days are sealed by now: one refresh shows the search what a crash left
// between the writing of late rows and their day's sealing, and what Sentry
// wrote this very second.
func (m *Migration) sweepStale(ctx context.Context) error {
	err := m.target.Refresh(ctx, m.target.Backend().Alias)
	if target.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var swept int64
	m.checkpoint.View(func(state *checkpoint.State) { swept = state.CatchUp.Swept })
	from := m.firstKept()
	if swept != checkpoint.NeverSwept {
		// Where ids repeat, a day that had no rows before may get an id that another
		// day has as well: no side lacks anything then.
		from = max(from, min(swept-m.overlap(), m.oldest))
	}
	if err := m.sweepSince(ctx, from); err != nil {
		return err
	}
	return m.sweepSwitched(ctx)
}

// sweepWindow bounds the ids that are in memory, and the time of a transaction.
const sweepWindow = 10 * minute

// sweepSince looks for other copies of every id with a timestamp from then on,
// a thousand ids a request.
func (m *Migration) sweepSince(ctx context.Context, from int64) error {
	days, err := m.source.Days(ctx, from, m.options.Until.Start())
	if err != nil {
		return err
	}
	for _, d := range days {
		own := m.target.Backend().IndexOf(d.Day)
		for at := max(from, d.Day.Start()); at < d.Day.End(); at += sweepWindow {
			var ids []string
			err := m.source.Keys(ctx, at, min(at+sweepWindow, d.Day.End()), func(id []byte, _ int64) error {
				ids = append(ids, string(id))
				return nil
			})
			if err != nil {
				return err
			}
			if err := m.sweepIDs(ctx, own, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepSwitched looks for older copies of what Sentry itself wrote since the switch.
func (m *Migration) sweepSwitched(ctx context.Context) error {
	if m.options.SwitchedAt == 0 {
		return nil
	}
	since := max(m.options.SwitchedAt, m.sweptSwitched-m.overlap())
	err := m.eachWritten(ctx, since, func(copies []target.Copy) error {
		byIndex := make(map[string][]string)
		for _, c := range copies {
			byIndex[c.Index] = append(byIndex[c.Index], c.ID)
		}
		for index, ids := range byIndex {
			if err := m.sweepIDs(ctx, index, ids); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		m.sweptSwitched = m.now
	}
	return err
}

// eachWritten hands over the documents behind the alias that date from since
// then on.
func (m *Migration) eachWritten(ctx context.Context, since int64, visit func([]target.Copy) error) error {
	err := m.target.Between(ctx, m.target.Backend().Alias, since/1000, node.MaxDay.End()/1000, visit)
	if target.IsGone(err) {
		return nil
	}
	return err
}

// sweepIDs removes the stale copies of ids that are elsewhere than in the given
// index. The last copy of an id is never removed: if the newest row was
// rejected, an older document is better than none.
func (m *Migration) sweepIDs(ctx context.Context, own string, ids []string) error {
	for some := range slices.Chunk(ids, portion) {
		elsewhere, err := m.target.Elsewhere(ctx, own, some)
		if target.IsGone(err) {
			return nil // there is no alias yet
		}
		if err != nil {
			return err
		}
		if len(elsewhere) == 0 {
			continue
		}
		suspects := slices.Compact(slices.Sorted(slices.Values(idsOf(elsewhere))))
		copies, err := m.target.Copies(ctx, m.target.Backend().Alias, suspects)
		if err != nil {
			return err
		}
		rows, err := m.locate(ctx, suspects)
		if err != nil {
			return err
		}
		byID := make(map[string][]target.Copy)
		for _, c := range copies {
			byID[c.ID] = append(byID[c.ID], c)
		}
		var stale []target.Copy
		var doubled []string
		for id, found := range byID {
			some, err := m.staleAmong(ctx, found, rows[id])
			if err != nil {
				return err
			}
			if stale = append(stale, some...); len(found)-len(some) > 1 {
				doubled = append(doubled, id)
			}
		}
		m.suspectDoubled(doubled)
		if err := m.removeCopies(ctx, stale, node.Moved); err != nil {
			return err
		}
	}
	return nil
}

// suspectDoubled keeps nodes of which no copy may be removed now. Later in the run
// one may be.
func (m *Migration) suspectDoubled(ids []string) {
	if m.doubled == nil {
		m.doubled = make(map[string]struct{})
	}
	for _, id := range ids {
		m.doubled[id] = struct{}{}
	}
}

// tellDoubled tells of the nodes that are in several indices at the end.
func (m *Migration) tellDoubled(ctx context.Context) error {
	var still []string
	for some := range slices.Chunk(slices.Collect(maps.Keys(m.doubled)), portion) {
		copies, err := m.target.Copies(ctx, m.target.Backend().Alias, some)
		if err != nil {
			return err
		}
		times := make(map[string]int)
		for _, c := range copies {
			if times[c.ID]++; times[c.ID] == 2 {
				still = append(still, c.ID)
			}
		}
	}
	m.doubled = nil
	m.progress.doubled.Store(int64(len(still)))
	if len(still) > 0 {
		m.notify(Event{Kind: Doubled, Nodes: int64(len(still)), Cause: fmt.Sprintf("%d nodes, such as %q, are in more than one index, so that Sentry cannot open them: "+
			"what is newer than its row may be Sentry's; if it writes to OpenSearch already, --switched-at says since when", len(still), slices.Min(still))})
	}
	return nil
}

// staleAmong returns the copies of an id that another one supersedes.
//
//  1. What Sentry wrote since the switch supersedes all that it did not write,
//     be the row's clock ahead.
//  2. The document of the row of now supersedes the others: the older ones, and
//     newer ones that a clock that was ahead has left.
//  3. If that one is not there, because it is rejected or still to come, the
//     newest that is not newer than the row supersedes the older ones.
func (m *Migration) staleAmong(ctx context.Context, copies []target.Copy, micros int64) (stale []target.Copy, err error) {
	row, backend := node.Millis(micros), m.target.Backend()
	newest := slices.MaxFunc(copies, func(a, b target.Copy) int {
		return cmp.Or(cmp.Compare(a.Millis, b.Millis), cmp.Compare(a.Index, b.Index))
	})
	keep, decided := newest, false
	sentrys := func(c target.Copy) bool { return c.Millis != row && m.writtenBySentry(c) }
	for _, c := range copies {
		if sentrys(c) && (!decided || c.Millis > keep.Millis) {
			keep, decided = c, true
		}
	}
	ours := !decided
	for _, c := range copies {
		if decided || micros == 0 || c.Millis > row {
			continue
		}
		home := c.Millis == row && c.Index == backend.IndexOf(node.DayOf(micros))
		if home || keep.Millis > row || c.Millis > keep.Millis {
			keep, decided = c, home
		}
	}
	for _, c := range copies {
		switch {
		case c == keep || ours && keep.Millis > row:
			continue
		case c.Millis <= keep.Millis || !ours && !sentrys(c) || decided && m.marked(c):
			stale = append(stale, c)
			continue
		}
		day, _ := backend.DayOf(c.Index)
		index, there, err := m.target.Daily(ctx, day)
		if err != nil {
			return nil, err
		}
		if there && index.Name == c.Index && decided && m.copied(index, c) {
			stale = append(stale, c)
		}
	}
	return stale, nil
}

// removeCopies deletes documents, has searches see it, and gives the nodes
// that they were their fate.
func (m *Migration) removeCopies(ctx context.Context, copies []target.Copy, fate node.Fate) error {
	removed, err := m.target.Remove(ctx, copies)
	if err != nil || len(copies) == 0 {
		return err
	}
	// Also where nothing was removed: a request of a run that was killed may have
	// done it this moment, and searches still see what is gone.
	touched := make(map[string]bool)
	for _, c := range copies {
		touched[c.Index] = true
	}
	if err := m.target.Refresh(ctx, slices.Collect(maps.Keys(touched))...); err != nil && !target.IsGone(err) {
		return err
	}
	if len(removed) == 0 {
		return nil
	}
	count := make(map[string]int64)
	for _, c := range removed {
		count[c.Index]++
	}
	err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		for index, n := range count {
			if day, ok := m.target.Backend().DayOf(index); ok {
				transfer(&state.Day(day).Fates, fate, n)
			}
		}
	})
	for index, n := range count {
		m.notify(Event{Kind: Kind(fate.String()), Index: index, Nodes: n})
	}
	return err
}

// clearRewritten takes out of a day that was just copied what Sentry rewrote
// since the switch, before the day becomes visible: two copies would make an
// event unreadable.
func (m *Migration) clearRewritten(ctx context.Context, d *day) error {
	if m.options.SwitchedAt == 0 || d.hot || d.index.Origin == nil {
		return nil
	}
	return m.eachWritten(ctx, m.options.SwitchedAt, func(copies []target.Copy) error {
		ids := make([]string, 0, len(copies))
		for _, c := range copies {
			if c.Index != d.name() && m.writtenBySentry(c) {
				ids = append(ids, c.ID)
			}
		}
		for some := range slices.Chunk(ids, portion) {
			held, err := m.target.Held(ctx, d.name(), some)
			if target.IsGone(err) {
				return nil
			}
			if err != nil {
				return err
			}
			removed, err := m.target.Remove(ctx, held)
			if err != nil {
				return err
			}
			err = m.checkpoint.Update(ctx, func(state *checkpoint.State) {
				transfer(&state.Day(d.day).Fates, node.Superseded, int64(len(removed)))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
