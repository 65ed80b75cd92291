package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// stale removes the copies that rewritten nodes leave behind in other days.
type stale struct {
	*run
	doubled       map[string]struct{} // ids that were seen in several indices, none of which may go
	sweptSwitched int64               // what Sentry wrote before, in µs, was looked for in other days
}

// sweep looks for stale copies of all rows with a timestamp since the last
// sweep: only these can have been rewritten since, and those from a time on that
// this pass found to be new to their day, where ids repeat. All days are sealed by
// now: one refresh shows the search what a crash left between the writing of late
// rows and their day's sealing, and what Sentry wrote this very second.
func (s *stale) sweep(ctx context.Context, oldest, now int64) error {
	err := s.target.Refresh(ctx, s.target.Backend().Alias)
	if target.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var swept int64
	s.ledger.View(func(state *checkpoint.State) { swept = state.CatchUp.Swept })
	from := s.firstKept(now)
	if swept != checkpoint.NeverSwept {
		// Where ids repeat, a day that had no rows before may get an id that another
		// day has as well: no side lacks anything then.
		from = max(from, min(swept-s.overlap(), oldest))
	}
	if err := s.sweepSince(ctx, from); err != nil {
		return err
	}
	return s.sweepSwitched(ctx, now)
}

// sweepWindow bounds the ids that are in memory, and the time of a transaction.
const sweepWindow = 10 * minute

// sweepSince looks for other copies of every id with a timestamp from then on,
// a thousand ids a request.
func (s *stale) sweepSince(ctx context.Context, from int64) error {
	days, err := s.source.Days(ctx, from, s.Until.Start())
	if err != nil {
		return err
	}
	for _, d := range days {
		own := s.target.Backend().IndexOf(d.Day)
		for at := max(from, d.Day.Start()); at < d.Day.End(); at += sweepWindow {
			var ids []string
			err := s.source.Keys(ctx, at, min(at+sweepWindow, d.Day.End()), func(id []byte, _ int64) error {
				ids = append(ids, string(id))
				return nil
			})
			if err != nil {
				return err
			}
			if err := s.sweepIDs(ctx, own, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepSwitched looks for older copies of what Sentry itself wrote since the switch.
func (s *stale) sweepSwitched(ctx context.Context, now int64) error {
	if s.SwitchedAt == 0 {
		return nil
	}
	since := max(s.SwitchedAt, s.sweptSwitched-s.overlap())
	err := s.eachWritten(ctx, since, func(copies []target.Copy) error {
		byIndex := make(map[string][]string)
		for _, c := range copies {
			byIndex[c.Index] = append(byIndex[c.Index], c.ID)
		}
		for index, ids := range byIndex {
			if err := s.sweepIDs(ctx, index, ids); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.sweptSwitched = now
	}
	return err
}

// eachWritten hands over the documents behind the alias that date from since
// then on.
func (s *stale) eachWritten(ctx context.Context, since int64, visit func([]target.Copy) error) error {
	err := s.target.Between(ctx, s.target.Backend().Alias, since/1000, node.MaxDay.End()/1000, visit)
	if target.IsGone(err) {
		return nil
	}
	return err
}

// sweepIDs removes the stale copies of ids that are elsewhere than in the given
// index. The last copy of an id is never removed: if the newest row was
// rejected, an older document is better than none.
func (s *stale) sweepIDs(ctx context.Context, own string, ids []string) error {
	for some := range slices.Chunk(ids, portion) {
		elsewhere, err := s.target.Elsewhere(ctx, own, some)
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
		copies, err := s.target.Copies(ctx, s.target.Backend().Alias, suspects)
		if err != nil {
			return err
		}
		rows, err := s.newest(ctx, suspects)
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
			some, err := s.staleAmong(ctx, found, rows[id])
			if err != nil {
				return err
			}
			if stale = append(stale, some...); len(found)-len(some) > 1 {
				doubled = append(doubled, id)
			}
		}
		s.suspectDoubled(doubled)
		if err := s.remove(ctx, stale, node.Moved); err != nil {
			return err
		}
	}
	return nil
}

// suspectDoubled keeps nodes of which no copy may be removed now. Later in the run
// one may be.
func (s *stale) suspectDoubled(ids []string) {
	if s.doubled == nil {
		s.doubled = make(map[string]struct{})
	}
	for _, id := range ids {
		s.doubled[id] = struct{}{}
	}
}

// tellDoubled tells of the nodes that are in several indices at the end.
func (s *stale) tellDoubled(ctx context.Context) error {
	var still []string
	for some := range slices.Chunk(slices.Collect(maps.Keys(s.doubled)), portion) {
		copies, err := s.target.Copies(ctx, s.target.Backend().Alias, some)
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
	s.doubled = nil
	s.progress.doubled.Store(int64(len(still)))
	if len(still) > 0 {
		s.Notify(Event{Kind: Doubled, Nodes: int64(len(still)), Cause: fmt.Sprintf("%d nodes, such as %q, are in more than one index, so that Sentry cannot open them: "+
			"what is newer than its row may be Sentry's", len(still), slices.Min(still))})
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
func (s *stale) staleAmong(ctx context.Context, copies []target.Copy, micros int64) (stale []target.Copy, err error) {
	row, backend := node.Millis(micros), s.target.Backend()
	newest := slices.MaxFunc(copies, func(a, b target.Copy) int {
		return cmp.Or(cmp.Compare(a.Millis, b.Millis), cmp.Compare(a.Index, b.Index))
	})
	keep, decided := newest, false
	sentrys := func(c target.Copy) bool { return c.Millis != row && s.writtenBySentry(c) }
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
		case c.Millis <= keep.Millis || !ours && !sentrys(c) || decided && s.ledger.marked(c):
			stale = append(stale, c)
			continue
		}
		day, _ := backend.DayOf(c.Index)
		index, there, err := s.target.Daily(ctx, day)
		if err != nil {
			return nil, err
		}
		if there && index.Name == c.Index && decided && s.writtenByUs(index, c) {
			stale = append(stale, c)
		}
	}
	return stale, nil
}

// remove deletes documents, gives the nodes that they were their fate, and has
// searches see it.
func (s *stale) remove(ctx context.Context, copies []target.Copy, fate node.Fate) error {
	if len(copies) == 0 {
		return nil
	}
	removed, err := s.target.Remove(ctx, copies)
	count := make(map[string]int64)
	for _, c := range removed {
		count[c.Index]++
	}
	if len(removed) > 0 {
		err = errors.Join(err, s.ledger.removed(ctx, count, fate))
	}
	if err != nil {
		return err
	}
	// Also where nothing was removed: a request of a run that was killed may have
	// done it this moment, and searches still see what is gone.
	touched := make(map[string]bool)
	for _, c := range copies {
		touched[c.Index] = true
	}
	if err := s.target.Refresh(ctx, slices.Collect(maps.Keys(touched))...); err != nil && !target.IsGone(err) {
		return err
	}
	return nil
}

// clear takes out of a day that was just copied what Sentry rewrote since the
// switch, before the day becomes visible: two copies would make an event
// unreadable.
func (s *stale) clear(ctx context.Context, day node.Day, index string) error {
	return s.eachWritten(ctx, s.SwitchedAt, func(copies []target.Copy) error {
		ids := make([]string, 0, len(copies))
		for _, c := range copies {
			if c.Index != index && s.writtenBySentry(c) {
				ids = append(ids, c.ID)
			}
		}
		for some := range slices.Chunk(ids, portion) {
			held, err := s.target.Held(ctx, index, some)
			if target.IsGone(err) {
				return nil
			}
			if err != nil {
				return err
			}
			removed, err := s.target.Remove(ctx, held)
			if len(removed) > 0 { // also if others could not be
				err = errors.Join(err, s.ledger.Update(ctx, func(state *checkpoint.State) {
					takeAway(state.Day(day), node.Superseded, int64(len(removed)))
				}))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
