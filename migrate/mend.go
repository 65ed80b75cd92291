package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// mendDay makes the two sides of a day agree.
func (m *Migration) mendDay(ctx context.Context, s sides) error {
	if len(s.minutes) == 0 {
		return nil
	}
	d := m.newDay(s.day)
	d.index = s.index
	d.index.SwitchedAt, d.index.Wrote = m.options.SwitchedAt, m.marked
	left := &mending{day: d, emptied: m.emptied(s), rows: make(map[string]int64), uncounted: s.rows}
	m.checkpoint.View(func(state *checkpoint.State) {
		if recorded, ok := state.Days[s.day.String()]; ok {
			f := recorded.Fates
			left.uncounted = max(s.rows-f[node.Stored]-f[node.AlreadyThere]-f[node.Rejected], 0)
		}
	})
	for _, at := range s.minutes {
		if m.stopped() {
			return ErrInterrupted
		}
		if err := m.mendRange(ctx, left, at, min(at+minute, s.until)); err != nil {
			return err
		}
	}
	if err := m.mend(ctx, left); err != nil {
		return err
	}
	m.progress.missing.Add(left.missing)
	m.tellLeft(left)
	return nil
}

// mending is what differs on the two sides of a day, and what is left as it is.
type mending struct {
	day     *day
	emptied bool
	rows    map[string]int64 // timestamps of rows that have no document of their time
	extra   []target.Copy    // documents that have no row of their time

	uncounted   int64 // rows that have no fate yet: they were committed late
	missing     int64 // rows that are left without a document
	kept        int64 // documents of an emptied day
	unexplained int64 // other documents without a row, perhaps Sentry's
}

func (m *Migration) tellLeft(left *mending) {
	name, day := left.day.name(), left.day.day
	tell := func(kind Kind, n int64, format string, values ...any) {
		if n > 0 {
			m.notify(Event{Kind: kind, Day: day.String(), Index: name, Nodes: n, Cause: fmt.Sprintf(format, values...)})
		}
	}
	tell(Missing, left.missing, "%d rows of day %s have no document: Sentry deleted them since the switch, or they were committed late; --copy-missing copies them", left.missing, day)
	tell(Warning, left.kept, "day %s has no rows any more: its %d documents stay; --remove-vanished removes them", day, left.kept)
	tell(Warning, left.unexplained, "index %s holds %d documents without a row: deleted at the source, or written by Sentry, if it writes to OpenSearch already; "+
		"nothing was removed; --switched-at says since when it writes", name, left.unexplained)
}

// maxMended bounds what is in memory of a day, unless more has one millisecond.
const maxMended = 50_000

// mendRange compares ids in a short time, in halves of it if there are many.
func (m *Migration) mendRange(ctx context.Context, left *mending, from, to int64) error {
	rows, err := m.source.Count(ctx, from, to)
	if err != nil {
		return err
	}
	if rows > maxMended && to-from > 1000 {
		middle := wholeMillis(from + (to-from)/2)
		if err := m.mendRange(ctx, left, from, middle); err != nil {
			return err
		}
		return m.mendRange(ctx, left, middle, to)
	}
	if int64(len(left.rows)+len(left.extra))+rows > maxMended {
		if err := m.mend(ctx, left); err != nil {
			return err
		}
	}
	here := make(map[string]int64, rows)
	err = m.source.Keys(ctx, from, to, func(id []byte, micros int64) error {
		keepNewest(here, string(id), micros)
		return nil
	})
	if err != nil {
		return err
	}
	err = m.target.Between(ctx, left.day.name(), from/1000, to/1000, func(copies []target.Copy) error {
		for _, c := range copies {
			switch micros, ok := here[c.ID]; {
			case !ok:
				left.extra = append(left.extra, c)
			case node.Millis(micros) == c.Millis:
				delete(here, c.ID)
			}
		}
		return nil
	})
	for id, micros := range here {
		keepNewest(left.rows, id, micros)
	}
	return err
}

// mend decides about the rows, then about the documents that were gathered.
func (m *Migration) mend(ctx context.Context, left *mending) error {
	if err := m.mendRows(ctx, left); err != nil {
		return err
	}
	if err := m.mendDocuments(ctx, left); err != nil {
		return err
	}
	clear(left.rows)
	left.extra = left.extra[:0]
	return nil
}

func wholeMillis(micros int64) int64 { return micros - micros%1000 }

// mendDocuments decides about documents that have no row at their time. With a
// row at another time they are stale, once that one's document is there.
// Without any row they have vanished.
func (m *Migration) mendDocuments(ctx context.Context, left *mending) error {
	for some := range slices.Chunk(left.extra, portion) {
		located, err := m.locate(ctx, idsOf(some))
		if err != nil {
			return err
		}
		moved := make(map[node.Day][]string)
		var vanished []target.Copy
		for _, c := range some {
			micros, ok := located[c.ID]
			switch {
			case ok:
				moved[node.DayOf(micros)] = append(moved[node.DayOf(micros)], c.ID)
			case !m.mirrors() || m.writtenBySentry(c):
			case left.emptied:
				left.kept++
			case m.removable(left.day.index, c):
				vanished = append(vanished, c)
			case m.options.SwitchedAt == 0:
				left.unexplained++
			}
		}
		for n, ids := range moved {
			if err := m.sweepIDs(ctx, m.target.Backend().IndexOf(n), ids); err != nil {
				return err
			}
		}
		if err := m.removeCopies(ctx, vanished, node.Vanished); err != nil {
			return err
		}
	}
	return nil
}

func idsOf(copies []target.Copy) []string {
	ids := make([]string, len(copies))
	for i, c := range copies {
		ids[i] = c.ID
	}
	return ids
}

// locate returns the timestamp of the newest row of each id.
func (m *Migration) locate(ctx context.Context, ids []string) (map[string]int64, error) {
	located := make(map[string]int64, len(ids))
	err := m.source.Locate(ctx, ids, func(id []byte, micros int64) error {
		keepNewest(located, string(id), micros)
		return nil
	})
	return located, err
}

// keepNewest keeps the newest timestamp of an id.
func keepNewest(rows map[string]int64, id string, micros int64) {
	if known, ok := rows[id]; !ok || micros > known {
		rows[id] = micros
	}
}

// mendRows decides about rows that have no document of their time, by id with
// their timestamp.
//
//  1. What is rejected stays so, and the older row of an id that has several is
//     superseded.
//  2. A row is copied. A newer document of the same index, which a clock that
//     was ahead has left, gives way to it.
//  3. After the switch, a row without any document may be one that Sentry deleted.
func (m *Migration) mendRows(ctx context.Context, left *mending) error {
	var keys []key
	for id, micros := range left.rows {
		refused, err := m.rejects.has(ctx, []byte(id), micros)
		if err != nil {
			return err
		}
		if !refused {
			keys = append(keys, key{id, micros})
		}
	}
	for some := range slices.Chunk(keys, portion) {
		if err := m.mendPortion(ctx, left, some); err != nil {
			return err
		}
	}
	return nil
}

func (m *Migration) mendPortion(ctx context.Context, left *mending, keys []key) error {
	d, ids := left.day, make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.id
	}
	located, err := m.locate(ctx, ids)
	if err != nil {
		return err
	}
	copies, err := m.target.Copies(ctx, m.target.Backend().Alias, ids)
	if err != nil {
		return err
	}
	there := make(map[string][]target.Copy)
	for _, c := range copies {
		there[c.ID] = append(there[c.ID], c)
	}
	var late []key
	newer := make(map[key]target.Copy)
	for _, k := range keys {
		found := there[k.id]
		own := slices.IndexFunc(found, func(c target.Copy) bool { return c.Index == d.name() && c.Millis > node.Millis(k.micros) })
		switch {
		case supersededBy(located, k) || slices.ContainsFunc(found, m.writtenBySentry):
		case len(found) == 0 && m.options.SwitchedAt != 0 && !m.options.CopyMissing:
			left.missing++
		case own < 0:
			late = append(late, k)
		case m.removable(d.index, found[own]) || m.marked(found[own]):
			newer[k] = found[own]
		default:
			left.unexplained++
		}
	}
	if err := m.replaceNewer(ctx, d, newer, left.uncounted); err != nil || len(late) == 0 {
		return err
	}
	left.uncounted = max(left.uncounted-int64(len(newer)), 0)
	m.notify(Event{Kind: Late, Day: d.day.String(), Index: d.name(), Nodes: int64(len(late))})
	if err := m.copyKeys(ctx, d, late, left.uncounted); err != nil {
		return err
	}
	left.uncounted = max(left.uncounted-int64(len(late)), 0)
	return m.sweepIDs(ctx, d.name(), ids)
}

// supersededBy reports whether an id has a newer row.
func supersededBy(located map[string]int64, k key) bool {
	micros, ok := located[k.id]
	return ok && micros > k.micros
}

// writtenBySentry reports whether Sentry itself wrote a document: it dates from
// after the switch, and is not that of a row whose clock was ahead.
func (m *Migration) writtenBySentry(c target.Copy) bool {
	return m.options.SwitchedAt != 0 && c.Millis >= node.Millis(m.options.SwitchedAt) && !m.marked(c)
}

// replaceNewer writes rows over newer documents of the same id, each only if it
// is still the one that was looked at: the clock of the row's writer was ahead,
// and the row of now decides.
func (m *Migration) replaceNewer(ctx context.Context, d *day, newer map[key]target.Copy, uncounted int64) error {
	if len(newer) == 0 {
		return nil
	}
	copies := slices.Collect(maps.Values(newer))
	err := m.copySingles(ctx, singles{d, slices.Collect(maps.Keys(newer)), uncounted, func(ctx context.Context, b *target.Batch) (outcome target.Outcome, err error) {
		replaced, err := m.target.Replace(ctx, d.index, b, copies)
		outcome.Replaced = int64(len(replaced))
		outcome.Fates[node.Stored] = outcome.Replaced
		outcome.Fates[node.Superseded] = int64(b.Len()) - outcome.Replaced // by somebody at this moment
		return outcome, err
	}})
	if err != nil {
		return err
	}
	return m.seal(ctx, d)
}
