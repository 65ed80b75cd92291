package migrate

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// singles are rows of one day that are copied one by one.
type singles struct {
	*day
	keys      []key
	uncounted int64            // so many of them have no fate yet
	rejected  map[key]Rejected // what is listed of those that are retried
	send      func(context.Context, *target.Batch) (target.Outcome, error)
}

// make copies them, and makes them visible. now is when the present pass began.
func (s *singles) make(ctx context.Context, now int64) error {
	if err := s.ledger.announce(ctx, s.keys, now); err != nil {
		return err
	}
	if s.recallGone(); !s.gone.Load() {
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	if err := s.copy(ctx); err != nil || s.gone.Load() {
		return err
	}
	return s.seal(ctx)
}

// replace writes rows over newer documents of the same id, each only if it is
// still the one that was looked at: the clock of the row's writer was ahead, and
// the row of now decides.
func (d *day) replace(ctx context.Context, newer map[key]target.Copy, uncounted int64) error {
	copies := slices.Collect(maps.Values(newer))
	s := singles{day: d, keys: slices.Collect(maps.Keys(newer)), uncounted: uncounted, send: func(ctx context.Context, b *target.Batch) (outcome target.Outcome, err error) {
		replaced, err := d.target.Replace(ctx, d.index, b, copies)
		outcome.Replaced = int64(len(replaced))
		outcome.Fates[node.Stored] = outcome.Replaced
		outcome.Fates[node.Superseded] = int64(b.Len()) - outcome.Replaced // by somebody at this moment
		return outcome, err
	}}
	if err := s.copy(ctx); err != nil {
		return err
	}
	return d.seal(ctx)
}

// copy commits a portion after the other, each as a slice without a range. All
// of them are remembered, so that they are late only once.
func (s *singles) copy(ctx context.Context) error {
	batch, check := target.NewBatch(s.BatchBytes), node.NewChecker(s.Depth)
	slices.SortFunc(s.keys, func(a, b key) int { return cmp.Compare(a.micros, b.micros) })
	for some := range slices.Chunk(s.keys, portion) {
		f := &filler{
			reading: &reading{slice: &slice{into: s.day}}, check: check, limit: s.Gate.BatchBytes, young: func(int64) bool { return true },
			empty: func() (*target.Batch, error) { return batch, nil },
		}
		if err := s.copyPortion(ctx, some, f); err != nil {
			return err
		}
		sent := f.reading.read.nodes
		f.reading.forget(sent - s.uncounted)
		s.uncounted = max(s.uncounted-sent, 0)
		if err := s.commit(ctx, f.reading); err != nil {
			return err
		}
	}
	return nil
}

// errFull ends a reading because the batch is full: it is sent when the
// transaction is over.
var errFull = errors.New("the batch is full")

// copyPortion sends the rows of some keys, which are by time.
func (s *singles) copyPortion(ctx context.Context, keys []key, f *filler) error {
	waiting := make(map[string][]int64, len(keys)) // a view repeats ids
	for _, k := range keys {
		waiting[k.id] = append(waiting[k.id], k.micros)
	}
	served := func(id string, at int) {
		if was, ok := s.rejected[key{id, waiting[id][at]}]; ok {
			was.Retried = true
			f.reading.retried = append(f.reading.retried, was)
		}
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
		err := s.source.FetchBetween(ctx, ids, keys[0].micros, keys[len(keys)-1].micros+1, add)
		if source.Damaged(err) {
			err = s.source.FetchApart(ctx, slices.Collect(maps.Keys(waiting)), source.Apart{Node: add, Bad: refuse})
		}
		if err == nil {
			err = f.push()
		}
		if full.batch == nil {
			return err
		}
		outcome, err := s.send(ctx, full.batch)
		if err != nil {
			return err
		}
		s.progress.sentBytes.Add(full.read.bytes)
		full.reading.add(full.read, outcome)
	}
}
