package migrate

import (
	"context"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

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
