package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// recall reads the marks that the checkpoint has.
func (m *Migration) recall() {
	m.checkpoint.View(func(state *checkpoint.State) { m.known, m.written = state.CatchUp.Marks(), state.CatchUp.Written() })
}

// announce marks rows whose timestamp is in the future before they are written:
// a run that is killed then must not leave documents that look like Sentry's.
func (m *Migration) announce(ctx context.Context, keys []key) error {
	var ahead []checkpoint.Mark
	for _, k := range keys {
		if one := checkpoint.MarkOf([]byte(k.id), k.micros); k.micros >= m.now && !m.written.Has(one) {
			ahead = append(ahead, one)
		}
	}
	if len(ahead) == 0 {
		return nil
	}
	err := m.checkpoint.Update(ctx, func(state *checkpoint.State) { state.CatchUp.Announce(ahead) })
	m.recall()
	return err
}

// key is a row without its payload.
type key struct {
	id     string
	micros int64
}

// portion is how many ids one look-up asks for.
const portion = 1000

// copyLate copies the rows around the edges of earlier passes that have no
// fate yet. What had one is not sent again: Sentry may have deleted it at the
// target since.
func (m *Migration) copyLate(ctx context.Context) error {
	ranges := append(slices.Clone(m.windows), checkpoint.Range{From: m.now, To: node.MaxDay.End()})
	m.recall()
	known := m.known
	late := make(map[node.Day][]key)
	for _, r := range ranges {
		from, to := max(r.From, m.firstKept()), min(r.To, m.options.Until.Start())
		err := m.source.Keys(ctx, from, to, func(id []byte, micros int64) error {
			if k := checkpoint.MarkOf(id, micros); !known.Has(k) {
				known.Add(k) // ranges of two edges may overlap
				late[node.DayOf(micros)] = append(late[node.DayOf(micros)], key{string(id), micros})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for n, keys := range late {
		if err := m.copyKeys(ctx, m.newDay(n), keys, int64(len(keys))); err != nil {
			return fmt.Errorf("copy late rows of day %s: %w", n, err)
		}
	}
	m.recall()
	return nil
}

// firstKept is the first timestamp that is copied.
func (m *Migration) firstKept() int64 {
	first := m.options.Since.Start()
	if m.options.Retention > 0 {
		first = max(first, m.now-int64(m.options.Retention)*(24*time.Hour).Microseconds())
	}
	return first
}

// singles are rows of one day that are copied one by one.
type singles struct {
	day       *day
	keys      []key
	uncounted int64 // so many of them have no fate yet
	write     func(context.Context, *target.Batch) (target.Outcome, error)
}

// copyKeys copies single rows of a day, and makes them visible.
func (m *Migration) copyKeys(ctx context.Context, d *day, keys []key, uncounted int64) error {
	if err := m.announce(ctx, keys); err != nil {
		return err
	}
	if m.recallGone(d); !d.gone.Load() {
		if err := m.prepare(ctx, d); err != nil {
			return err
		}
	}
	err := m.copySingles(ctx, singles{d, keys, uncounted, func(ctx context.Context, b *target.Batch) (target.Outcome, error) {
		return m.write(ctx, d, b)
	}})
	if err != nil || d.gone.Load() {
		return err
	}
	return m.seal(ctx, d)
}

// copySingles commits a portion after the other, each as a slice without a
// range. All of them are remembered, so that they are late only once.
func (m *Migration) copySingles(ctx context.Context, s singles) error {
	batch, check := target.NewBatch(m.options.BatchBytes), node.NewChecker(m.options.Depth)
	slices.SortFunc(s.keys, func(a, b key) int { return cmp.Compare(a.micros, b.micros) })
	for some := range slices.Chunk(s.keys, portion) {
		f := &filler{
			attempt: &attempt{slice: &slice{day: s.day}}, check: check, limit: m.options.Gate.BatchBytes, young: func(int64) bool { return true },
			empty: func() (*target.Batch, error) { return batch, nil },
		}
		if err := m.copyPortion(ctx, s, some, f); err != nil {
			return err
		}
		sent := f.attempt.read.nodes
		f.attempt.forget(sent - s.uncounted)
		s.uncounted = max(s.uncounted-sent, 0)
		if err := m.commit(ctx, f.attempt); err != nil {
			return err
		}
	}
	return nil
}

// errFull ends a reading because the batch is full: it is sent when the
// transaction is over.
var errFull = errors.New("the batch is full")

// copyPortion sends the rows of some keys, which are by time.
func (m *Migration) copyPortion(ctx context.Context, s singles, keys []key, f *filler) error {
	waiting := make(map[string][]int64, len(keys)) // a view repeats ids
	for _, k := range keys {
		waiting[k.id] = append(waiting[k.id], k.micros)
	}
	served := func(id string, at int) {
		if waiting[id] = slices.Delete(waiting[id], at, at+1); len(waiting[id]) == 0 {
			delete(waiting, id)
		}
	}
	var full load
	f.full = func(l load) error {
		full = l
		return errFull
	}
	add := func(n node.Node) error {
		at := slices.Index(waiting[string(n.ID)], n.Micros)
		if at < 0 {
			return nil // rewritten since: the next pass finds it where it is now
		}
		if err := f.add(n); err != nil {
			return err
		}
		served(string(n.ID), at)
		return nil
	}
	refuse := func(bad source.Bad) error {
		if len(waiting[string(bad.ID)]) == 0 {
			return nil // another row of the id can be read
		}
		bad.Micros = waiting[string(bad.ID)][0]
		served(string(bad.ID), 0)
		return f.refuse(bad)
	}
	for {
		ids := slices.Collect(maps.Keys(waiting))
		full = load{}
		// By time, as these rows were found: the primary key may not know them.
		err := m.source.FetchBetween(ctx, ids, keys[0].micros, keys[len(keys)-1].micros+1, add)
		if source.Damaged(err) {
			err = m.source.FetchApart(ctx, slices.Collect(maps.Keys(waiting)), source.Apart{Node: add, Bad: refuse})
		}
		if err == nil {
			err = f.push()
		}
		if full.batch == nil {
			return err
		}
		outcome, err := s.write(ctx, full.batch)
		if err != nil {
			return err
		}
		m.progress.sentBytes.Add(full.read.bytes)
		full.attempt.add(full.read, outcome)
	}
}
