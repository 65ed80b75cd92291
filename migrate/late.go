package migrate

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// mark is a node that has its fate, by a hash of its id and timestamp.
type mark struct {
	minute int64 // of its timestamp, µs
	hash   uint64
}

// markOf hashes with 64 bits: among the nodes of an overlap, hundreds of
// thousands, two share a hash once in a hundred million runs.
func markOf(id []byte, micros int64) mark {
	h := fnv.New64a()
	h.Write(id) // never returns an error
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(micros)))
	at := micros - micros%minute
	if micros%minute < 0 {
		at -= minute
	}
	return mark{at, h.Sum64()}
}

// remember adds marks to the checkpoint.
func remember(state *checkpoint.State, marks []mark) {
	if len(marks) > 0 && state.CatchUp.Recent == nil {
		state.CatchUp.Recent = make(map[int64][]byte)
	}
	for _, k := range marks {
		state.CatchUp.Recent[k.minute] = binary.LittleEndian.AppendUint64(state.CatchUp.Recent[k.minute], k.hash)
	}
}

// remembered are the marks that the checkpoint has.
func (m *Migration) remembered() map[mark]bool {
	known := make(map[mark]bool)
	m.checkpoint.View(func(state *checkpoint.State) {
		for at, hashes := range state.CatchUp.Recent {
			for ; len(hashes) >= 8; hashes = hashes[8:] {
				known[mark{at, binary.LittleEndian.Uint64(hashes)}] = true
			}
		}
	})
	return known
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
	var ranges []checkpoint.Range
	m.checkpoint.View(func(state *checkpoint.State) {
		for _, edge := range state.CatchUp.Edges {
			ranges = append(ranges, checkpoint.Range{From: edge - m.overlap(), To: edge})
		}
	})
	ranges = append(ranges, checkpoint.Range{From: m.now, To: node.MaxDay.End()})
	known := m.remembered()
	late := make(map[node.Day][]key)
	for _, r := range ranges {
		from, to := max(r.From, m.firstKept()), min(r.To, m.options.Until.Start())
		err := m.source.Keys(ctx, from, to, func(id []byte, micros int64) error {
			if k := markOf(id, micros); !known[k] {
				known[k] = true // ranges of two edges may overlap
				late[node.DayOf(micros)] = append(late[node.DayOf(micros)], key{string(id), micros})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for n, keys := range late {
		if err := m.copyKeys(ctx, m.newDay(n), keys); err != nil {
			return fmt.Errorf("copy late rows of day %s: %w", n, err)
		}
	}
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

// copyKeys copies single rows of a day, and makes them visible.
func (m *Migration) copyKeys(ctx context.Context, d *day, keys []key) error {
	var dropped bool
	m.checkpoint.View(func(state *checkpoint.State) {
		if recorded, ok := state.Days[d.day.String()]; ok {
			dropped = !recorded.Dropped.IsZero()
		}
	})
	d.dropped.Store(dropped)
	if !dropped {
		if err := m.prepare(ctx, d); err != nil {
			return err
		}
	}
	batch := target.NewBatch(m.options.BatchBytes)
	check := node.NewChecker(m.options.Depth)
	for portionOf := range slices.Chunk(keys, portion) {
		if err := m.copyPortion(ctx, d, portionOf, &filler{
			attempt: &attempt{slice: &slice{day: d}}, check: check, limit: m.options.Gate.BatchBytes, young: func(int64) bool { return true },
			empty: func() (*target.Batch, error) { return batch, nil },
		}); err != nil {
			return err
		}
	}
	if dropped {
		return nil
	}
	return m.seal(ctx, d)
}

// copyPortion copies the rows of some keys, as one slice without a range. All
// of them are remembered, so that they are late only once.
func (m *Migration) copyPortion(ctx context.Context, d *day, keys []key, f *filler) error {
	f.full = func(l load) error {
		outcome, err := m.write(ctx, d, l.batch)
		m.progress.sentBytes.Add(l.read.bytes)
		l.attempt.add(l.read, outcome)
		return err
	}
	ids, late := make([]string, len(keys)), make(map[key]bool, len(keys))
	for i, k := range keys {
		ids[i], late[k] = k.id, true
	}
	err := m.source.Fetch(ctx, ids, func(n node.Node) error {
		if !late[key{string(n.ID), n.Micros}] {
			return nil // rewritten since: the next pass finds it where it is now
		}
		return f.add(n)
	})
	if err == nil {
		err = f.push()
	}
	if err != nil {
		return err
	}
	return m.commit(ctx, f.attempt)
}
