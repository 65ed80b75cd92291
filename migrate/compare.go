package migrate

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// sides are what source and target have of a day, as far as they differ.
type sides struct {
	day       node.Day
	until     int64 // end of the part that is compared, µs
	index     target.Index
	rows      int64
	documents int64
	minutes   []int64 // first µs of those whose counts or sums of timestamps differ
}

// compareSides compares rows and documents of every copied day by the minute, in
// both directions, however long ago a row was written.
//
//  1. A row without its document was committed late, or its timestamp moved: it
//     is copied. After the switch it is only told of unless CopyMissing is set,
//     because Sentry may have deleted it.
//  2. A document without its row was moved, or deleted at the source: it is
//     removed where the source is the truth.
func (m *Migration) compareSides(ctx context.Context) error {
	holdings, err := m.target.Holdings(ctx)
	if err != nil {
		return err
	}
	if err := m.settleGone(ctx, holdings); err != nil {
		return err
	}
	copied := m.copiedDays(holdings)
	expected, err := m.rejects.minutes(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var days []sides
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(m.options.Readers)
	for _, n := range copied {
		group.Go(func() error {
			s, err := m.lookAtSides(groupCtx, n, expected)
			err = m.unlessGone(groupCtx, n, err)
			mu.Lock()
			defer mu.Unlock()
			days = append(days, s)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(days, func(a, b sides) int { return int(a.day - b.day) })
	if err := m.plausible(days); err != nil {
		return err
	}
	for _, s := range days {
		if err := m.unlessGone(ctx, s.day, m.mendDay(ctx, s)); err != nil {
			return fmt.Errorf("compare day %s: %w", s.day, err)
		}
	}
	return m.tellDoubled(ctx)
}

// copiedDays are the days that have something of ours, oldest first: those that
// the checkpoint knows of, and those of indices that an earlier checkpoint made.
func (m *Migration) copiedDays(holdings []target.Holding) []node.Day {
	copied := make(map[node.Day]bool)
	for _, h := range holdings {
		copied[h.Day] = h.Daily && h.Ours && m.origins.Have(h.Origin)
	}
	m.checkpoint.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			if n, err := node.ParseDay(name); err == nil {
				copied[n] = d.Dropped.IsZero() && d.Lost.IsZero() && d.Index != ""
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
	return days
}

// lookAtSides compares a day by the minute. Rows that are rejected, and still
// what they were, are expected to have no document.
func (m *Migration) lookAtSides(ctx context.Context, n node.Day, rejected map[int64]source.Moment) (s sides, err error) {
	s.day, s.until = n, n.End()
	if n == node.DayOf(m.now) {
		s.until = wholeMillis(m.now) // what comes after this pass is for the next
	}
	var there bool
	if s.index, there, err = m.target.Daily(ctx, n); err != nil {
		return s, err
	}
	if there {
		there, err = m.sameIndex(ctx, s.index)
	}
	if err != nil {
		return s, err
	}
	if !there {
		if !m.filled(n) {
			return s, nil
		}
		_, err := m.recordGone(ctx, n)
		return s, err
	}
	if err := m.checkIndex(ctx, s.index); err != nil {
		return s, err
	}
	if s.index.Loading() { // all days are sealed: a request of a killed run made it late
		if err := m.endLateLoan(ctx, s.index); err != nil {
			return s, err
		}
	}
	documents, err := m.target.Moments(ctx, s.index.Name, n.Start()/1000, s.until/1000)
	if err != nil {
		return s, err
	}
	rows, err := m.source.Moments(ctx, n.Start(), s.until)
	if err != nil {
		return s, err
	}
	for at, r := range rows {
		s.rows += r.Count
		if r.Unreadable {
			continue // which rows there are is not known
		}
		d, refused := documents[at/1000], rejected[at]
		if r.Count-refused.Count != d.Count || r.Sum-refused.Sum != d.Sum {
			s.minutes = append(s.minutes, at)
		}
	}
	for at, d := range documents {
		r, ok := rows[at*1000]
		if r.Unreadable {
			continue
		}
		if s.documents += d.Count; !ok {
			s.minutes = append(s.minutes, at*1000)
		}
	}
	slices.Sort(s.minutes)
	return s, nil
}

// endLateLoan ends the loading of an index that a request of a killed run made
// after the settings of its other indices were given back.
func (m *Migration) endLateLoan(ctx context.Context, index target.Index) error {
	if err := m.correctLoan(ctx, index); err != nil {
		return err
	}
	return m.restore(ctx, func(name string) bool { return name == index.Name })
}

// mirrors reports whether what is deleted at the source goes from the target:
// only while the source is the truth, which the first run after the switch ends.
// That run has to follow one that came to its end before the switch: a checkpoint
// that knows nothing may be a new one, and the table may be emptied already.
func (m *Migration) mirrors() (mirrors bool) {
	m.checkpoint.View(func(state *checkpoint.State) {
		done := state.CatchUp.Completed
		mirrors = m.options.RemoveVanished || m.options.SwitchedAt == 0 || done != nil && !done.Switched
	})
	return mirrors
}

// removable reports whether the source decides about a document that is not
// what its row says: its index is one that this tool made, and nobody else can
// have written it. That is so before the switch, if its time is known.
func (m *Migration) removable(index target.Index, c target.Copy) bool {
	return m.mirrors() && m.copied(index, c)
}

// copied reports whether nobody but this tool can have written a document.
func (m *Migration) copied(index target.Index, c target.Copy) bool {
	if index.Ours() && m.options.SwitchedAt != 0 {
		return !m.writtenBySentry(c)
	}
	return index.Ours() && m.wrote(index, c)
}

// wrote reports whether a pass wrote a document. In the index of a past day its
// version shows that, which is the timestamp of its row, or follows one that was
// later; what Sentry writes there counts from 1, or is newer than its version.
// Sentry may write to the other indices: there, only what is remembered is known.
func (m *Migration) wrote(index target.Index, c target.Copy) bool {
	return index.Versioned() && c.Version >= c.Millis*1000 || m.marked(c)
}

// marked reports whether a document is that of a row that is remembered.
func (m *Migration) marked(c target.Copy) bool {
	return m.written.HasDocument(c.ID, c.Millis)
}

// emptied reports whether all rows of a day are gone. A partition may be
// detached, and come back: its documents stay unless the operator says so.
func (m *Migration) emptied(s sides) bool {
	return s.rows == 0 && s.documents > 0 && !m.options.RemoveVanished
}

// maxVanished is the share of the documents that may vanish between two runs
// without a question. Sentry's nightly cleanup takes one day of its retention.
const maxVanished = 0.1

// plausible refuses to empty the target after a source that was emptied:
// perhaps the table was truncated, or dropped and made again, because it is not
// needed any more.
func (m *Migration) plausible(days []sides) error {
	if m.options.RemoveVanished || !m.mirrors() {
		return nil
	}
	var documents, vanished int64
	for _, s := range days {
		documents += s.documents
		if (s.index.Versioned() || s.index.Ours() && m.options.SwitchedAt != 0) && !m.emptied(s) {
			vanished += max(s.documents-s.rows, 0)
		}
	}
	if float64(vanished) <= maxVanished*float64(documents) {
		return nil
	}
	return hint.Add(fmt.Errorf("%d of %d nodes are at the target and no longer at the source: nothing was removed", vanished, documents),
		"if the table was emptied because it is migrated, there is nothing to do; if Sentry deleted these nodes before the switch, "+
			"run again with --remove-vanished, or with --retention if they are only old")
}
