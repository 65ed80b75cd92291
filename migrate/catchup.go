package migrate

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

const (
	// closeEnough is how short a pass must be for the copy to count as caught
	// up with a Sentry that never stops writing.
	closeEnough = 10 * time.Second
	// followPause is the pause between two passes of Follow.
	followPause = 2 * time.Second
	// tellInterval is how often passes that find nothing are told of.
	tellInterval = 30 * time.Second
	minute       = int64(time.Minute / time.Microsecond)
)

// catchUp makes passes over the source: the first one is the copy. It ends when
// a pass finds nothing new, or took so little time that the next would not
// find less; with Follow, when it was quiet for long enough.
func (m *Migration) catchUp(ctx context.Context) error {
	var quiet time.Duration
	var told time.Time
	for {
		began := time.Now()
		before := m.progress.sentNodes.Load()
		if err := m.pass(ctx); err != nil {
			return err
		}
		fresh, took := m.progress.sentNodes.Load()-before, time.Since(began)
		if fresh > 0 || time.Since(told) >= tellInterval {
			told = time.Now()
			m.notify(Event{Kind: CaughtUp, Nodes: fresh, Behind: took})
		}
		if !m.options.Follow && (fresh == 0 || took < closeEnough) {
			return nil
		}
		if m.stopped() {
			return ErrInterrupted
		}
		if fresh > 0 {
			quiet = 0
		}
		if m.options.Follow && m.options.QuietFor > 0 && quiet >= m.options.QuietFor {
			return nil
		}
		if m.options.Follow {
			quiet += followPause
			if err := m.wait(ctx, followPause); err != nil {
				return err
			}
		}
	}
}

// wait pauses, and ends early when the run is to stop.
func (m *Migration) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.options.Stop:
		return ErrInterrupted
	case <-timer.C:
		return nil
	}
}

// pass is one sweep over what is new at the source.
//
//  1. Rows up to the present are copied by slices, and their days sealed.
//  2. Rows that were committed late, before the end of an earlier pass or with
//     a clock that is ahead, are copied one by one.
//  3. Stale copies of rows that Sentry rewrote since the first run are removed.
//
// A pass that is cut short leaves the record of what is still to be looked at,
// so that the next one does.
func (m *Migration) pass(ctx context.Context) error {
	if err := m.advance(ctx); err != nil {
		return err
	}
	days, err := m.plan(ctx)
	if err != nil {
		return err
	}
	if err := m.restoreOthers(ctx, days); err != nil {
		return err
	}
	if err := m.copy(ctx, days); err != nil {
		return err
	}
	if err := m.copyLate(ctx); err != nil {
		return err
	}
	if err := m.sweepStale(ctx); err != nil {
		return err
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		state.CatchUp.Edges, state.CatchUp.Swept = nil, m.now
		for at := range state.CatchUp.Recent {
			if at+minute <= m.now-m.overlap() {
				delete(state.CatchUp.Recent, at)
			}
		}
	})
}

// young reports whether rows beside one of this timestamp may be committed
// after its slice was read: shortly before the end of this pass, or of an
// earlier one whose late rows were not looked for yet.
func (m *Migration) young(micros int64) bool {
	for _, edge := range m.edges {
		if micros >= edge-m.overlap() && (micros < edge || edge == m.now) {
			return true
		}
	}
	return false
}

func (m *Migration) overlap() int64 { return m.options.Overlap.Microseconds() }

// advance moves the end of the copy to the present. The first time it also
// notes whether the target had documents before.
func (m *Migration) advance(ctx context.Context) error {
	var err error
	if m.now, err = m.options.Now(ctx); err != nil {
		return err
	}
	var first bool
	m.checkpoint.View(func(state *checkpoint.State) { first = state.CopyUntil == 0 })
	var shared bool
	if first {
		if shared, err = m.hasDocuments(ctx); err != nil {
			return err
		}
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) {
		c := &state.CatchUp
		defer func() { m.edges = append(slices.Clone(c.Edges), m.now) }()
		if first {
			c.Swept = m.now
			// An id can be in several days already if somebody copied before us, or
			// if the source itself repeats ids.
			if shared || !m.source.Relation().UniqueID {
				c.Swept = checkpoint.NeverSwept
			}
		} else {
			c.Edges = append(c.Edges, state.CopyUntil)
		}
		state.CopyUntil = m.now
	})
}

func (m *Migration) hasDocuments(ctx context.Context) (bool, error) {
	n, err := m.target.Count(ctx, m.target.Backend().Alias)
	if target.IsGone(err) {
		return false, nil
	}
	return n > 0, err
}

// recordSwitch keeps the time of the switch: it belongs to the migration, and
// later runs need not name it again.
func (m *Migration) recordSwitch(ctx context.Context) error {
	var recorded int64
	m.checkpoint.View(func(state *checkpoint.State) { recorded = state.CatchUp.SwitchedAt })
	given := m.options.SwitchedAt
	if given == 0 || given == recorded {
		m.options.SwitchedAt = recorded
		return nil
	}
	if recorded != 0 {
		return hint.Add(fmt.Errorf("the switch is recorded at %s, and --switched-at says %s", isoTime(recorded), isoTime(given)),
			"leave --switched-at out: the checkpoint knows it")
	}
	return m.checkpoint.Update(ctx, func(state *checkpoint.State) { state.CatchUp.SwitchedAt = given })
}

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
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.id
	}
	err := m.source.Fetch(ctx, ids, func(n node.Node) error {
		if node.DayOf(n.Micros) != d.day {
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
