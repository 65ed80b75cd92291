package migrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
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
	documents int64   // but for the minute of the switch and later: these may be Sentry's
	minutes   []int64 // first µs of those whose counts or sums of timestamps differ
}

// comparison compares rows and documents of every copied day by the minute, in
// both directions, however long ago a row was written.
//
//  1. A row without its document was committed late, or its timestamp moved: it
//     is copied. After the switch it is only told of unless CopyMissing is set,
//     because Sentry may have deleted it.
//  2. A document without its row was moved, or deleted at the source: it is
//     removed where the source is the truth.
type comparison struct {
	*indices
	now int64 // when the last pass began, µs
}

// copiedDays are the days that have something of ours, oldest first: those that
// the checkpoint knows of, and those of indices that an earlier checkpoint made.
func (c *comparison) copiedDays(holdings []target.Holding) []node.Day {
	copied := make(map[node.Day]bool)
	for _, h := range holdings {
		copied[h.Day] = h.Daily && h.Ours() && c.origins.Have(*h.Origin)
	}
	c.ledger.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			if n, err := node.ParseDay(name); err == nil {
				copied[n] = !d.Gone() && d.Index != ""
			}
		}
	})
	var days []node.Day
	for n, ok := range copied {
		if ok && n.Start() >= c.firstKept(c.now) && n < c.Until {
			days = append(days, n)
		}
	}
	slices.Sort(days)
	return days
}

// lookAtSides compares a day by the minute. Rows that are rejected, and still
// what they were, are expected to have no document.
func (c *comparison) lookAtSides(ctx context.Context, n node.Day, rejected map[int64]source.Moment) (s sides, err error) {
	s.day, s.until = n, n.End()
	if n == node.DayOf(c.now) {
		s.until = wholeMillis(c.now) // what comes after this pass is for the next
	}
	var there bool
	if s.index, there, err = c.find(ctx, n); err != nil || !there {
		return s, err
	}
	documents, err := c.target.Moments(ctx, s.index.Name, n.Start()/1000, s.until/1000)
	if err != nil {
		return s, err
	}
	rows, err := c.source.Moments(ctx, n.Start(), s.until)
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
		if c.SwitchedAt == 0 || at*1000+minute <= c.SwitchedAt {
			s.documents += d.Count
		}
		if !ok {
			s.minutes = append(s.minutes, at*1000)
		}
	}
	slices.Sort(s.minutes)
	return s, nil
}

// find returns a day's index, fit to be compared. One that is gone is noted.
func (c *comparison) find(ctx context.Context, n node.Day) (index target.Index, there bool, err error) {
	if index, there, err = c.target.Daily(ctx, n); err == nil && there {
		there, err = c.sameIndex(ctx, index)
	}
	switch {
	case err != nil:
		return index, false, err
	case !there && c.ledger.filled(n):
		_, err = c.recordGone(ctx, n)
		return index, false, err
	case !there:
		return index, false, nil
	}
	if err = c.check(ctx, index); err == nil && index.Loading() { // all days are sealed: a request of a killed run made it late
		err = c.endLateLoan(ctx, index)
	}
	return index, true, err
}

// emptied reports whether all rows of a day are gone. A partition may be
// detached, and come back: its documents stay unless the operator says so.
func (c *comparison) emptied(s sides) bool {
	return s.rows == 0 && s.documents > 0 && !c.RemoveVanished
}

// maxVanished is the share of the documents that may vanish between two runs
// without a question. Sentry's nightly cleanup takes one day of its retention.
const maxVanished = 0.1

// plausible refuses to empty the target after a source that was emptied:
// perhaps the table was truncated, or dropped and made again, because it is not
// needed any more.
func (c *comparison) plausible(days []sides) error {
	if c.RemoveVanished || !c.mirrors() {
		return nil
	}
	var documents, vanished int64
	for _, s := range days {
		documents += s.documents
		if (s.index.Versioned() || s.index.Ours() && c.SwitchedAt != 0) && !c.emptied(s) {
			vanished += max(s.documents-s.rows, 0)
		}
	}
	if float64(vanished) <= maxVanished*float64(documents) {
		return nil
	}
	return &VanishedError{vanished, documents}
}

// VanishedError means that so much of what the target has is no longer at the
// source that nothing was removed.
type VanishedError struct{ Vanished, Documents int64 }

func (e *VanishedError) Error() string {
	return fmt.Sprintf("%d of %d nodes are at the target and no longer at the source: nothing was removed", e.Vanished, e.Documents)
}
