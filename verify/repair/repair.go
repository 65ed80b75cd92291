// Package repair does what can be done about the findings of a verification. It
// writes where package verify only reads, and keeps promises 5 (nothing newer is
// overwritten) and 12 (nothing of Sentry's is removed).
package repair

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// The names of what a repair does, in verify.Report.Repairs.
const (
	copiedAgain   = "nodes_copied_again"
	staleRemoved  = "stale_copies_removed"
	notRepairable = "not_repairable"
)

// nodesAtOnce is how many nodes are repaired at a time, and batchBytes what one
// bulk request takes of them.
const (
	nodesAtOnce = 50
	batchBytes  = 8 << 20
)

// Say says what Do would do. It changes nothing.
func Say(_ context.Context, s *verify.Subject) (map[string]int64, error) {
	_, err := (&repair{Subject: s}).say()
	return nil, err
}

// Do says what it does, and does it.
//
//  1. Nodes that are missing, in the wrong place or older than their row are
//     copied again. The migration's rules hold: nothing newer is overwritten.
//  2. Of a node in several places, the older copies go, each only if it is still
//     the document that was looked at.
func Do(ctx context.Context, s *verify.Subject) (map[string]int64, error) {
	r := &repair{Subject: s}
	cannot, err := r.say()
	if err != nil {
		return nil, err
	}
	r.done = map[string]int64{copiedAgain: 0, staleRemoved: 0, notRepairable: cannot}
	var ids []string
	some := func() error {
		defer func() { ids = ids[:0] }()
		return r.some(ctx, ids)
	}
	err = s.Each(func(f verify.Finding) error {
		if r.repairable(f) {
			ids = append(ids, f.ID)
		}
		if len(ids) < nodesAtOnce {
			return nil
		}
		return some()
	})
	if err != nil {
		return nil, err
	}
	return r.done, some()
}

// repair is one repair.
type repair struct {
	*verify.Subject
	done map[string]int64
}

// say says what is about to be done, and counts what no repair is known for.
func (r *repair) say() (cannot int64, err error) {
	var can, stale int64
	err = r.Each(func(f verify.Finding) error {
		switch {
		case !r.repairable(f):
			cannot++
			return nil
		case f.Class == verify.TwoPlaces || f.Class == verify.WrongDay:
			stale++
		}
		can++
		return nil
	})
	if err != nil {
		return 0, err
	}
	r.Notify(verify.Event{Kind: verify.Repairing, Findings: can, Cause: fmt.Sprintf(
		"repair: %s to copy again, %s to leave with one copy; %s that no repair is known for",
		amount.Of(can, "node"), amount.Of(stale, "node"), amount.Of(cannot, "finding"))})
	return cannot, nil
}

// repairable says whether copying again or removing copies can help. After the
// switch a node that is missing may be one that Sentry has deleted: it must not
// come back.
func (r *repair) repairable(f verify.Finding) bool {
	switch f.Class {
	case verify.Missing:
		return f.ID != "" && r.SwitchedAt == 0
	case verify.TwoPlaces, verify.WrongDay, verify.Different:
		return f.ID != ""
	}
	return false
}

// some repairs some nodes by what both sides have at this moment.
func (r *repair) some(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	alias := r.Target.Backend().Alias
	copies, err := r.Copies(ctx, alias, ids)
	if err != nil {
		return err
	}
	rows, err := r.Rows(ctx, ids, copies)
	if err != nil {
		return err
	}
	created, err := r.copyAgain(ctx, rows, copies)
	if err != nil {
		return err
	}
	if copies, err = r.Copies(ctx, alias, slices.Collect(maps.Keys(rows))); err != nil {
		return err
	}
	removed, err := r.removeStale(ctx, rows, copies)
	if err != nil {
		return err
	}
	return r.undo(ctx, created, removed)
}

// created is a document that a repair made in place of others.
type created struct {
	row    node.Node
	index  string
	copies []target.Copy // that were there before
}

// home reports whether a document is a row's version in its day's index.
func (r *repair) home(row node.Node, c target.Copy) bool {
	return c.Millis == node.Millis(row.Micros) && c.Index == r.Target.Backend().IndexOf(node.DayOf(row.Micros))
}

// wanted says whether a row is to be written, where its copies are: not if one of
// them is as it should be, if one is newer, or if Sentry has deleted it since the
// switch.
func (r *repair) wanted(row node.Node, copies []target.Copy) bool {
	if !r.Copied(row) || len(copies) == 0 && r.SwitchedAt != 0 {
		return false
	}
	return !slices.ContainsFunc(copies, func(c target.Copy) bool {
		return c.Millis > node.Millis(row.Micros) || r.Sentrys(c) || r.home(row, c)
	})
}

// copyAgain writes rows to their days' indices, and returns what it created.
func (r *repair) copyAgain(ctx context.Context, rows map[string]node.Node, copies map[string][]target.Copy) (made []created, err error) {
	days := make(map[node.Day][]node.Node)
	for id, row := range rows {
		if day := node.DayOf(row.Micros); r.wanted(row, copies[id]) {
			days[day] = append(days[day], row)
		}
	}
	for day, list := range days {
		// An index that is gone was dropped by Sentry's cleanup or by hand: no verb
		// makes it again. One that the reader cannot use is not written to.
		index, there, err := r.Target.Daily(ctx, day)
		if err != nil {
			return nil, err
		}
		if !there || !r.Readable(day) {
			r.done[notRepairable] += int64(len(list))
			continue
		}
		index.SwitchedAt = r.SwitchedAt // what Sentry wrote since is left alone
		for _, row := range list {
			alone, err := r.write(ctx, index, row)
			if err != nil {
				return nil, err
			}
			if alone {
				made = append(made, created{row, index.Name, copies[string(row.ID)]})
			}
		}
		if err := r.Target.Refresh(ctx, index.Name); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// write writes a row, and says whether no document was in its place.
func (r *repair) write(ctx context.Context, index target.Index, row node.Node) (alone bool, err error) {
	batch := target.NewBatch(batchBytes)
	// With an external version, the trace of a document that was deleted within
	// the last minute (index.gc_deletes) would refuse the node.
	batch.Reset(target.CreateOnly)
	batch.Append(row, node.NewChecker(node.Full)) // what is not accepted stays listed
	if batch.Len() == 0 {
		return false, nil
	}
	outcome, err := r.Target.Write(ctx, index, batch)
	stored := outcome.Fates[node.Stored]
	r.done[copiedAgain] += stored
	return stored > int64(outcome.Replaced), err
}

// removeStale leaves one copy of each row's id: Sentry's own since the switch, or
// else the row's version in its day's index. Only older copies go, and only while
// the alias shows the one that stays.
func (r *repair) removeStale(ctx context.Context, rows map[string]node.Node, copies map[string][]target.Copy) ([]target.Copy, error) {
	var stale []target.Copy
	for id, list := range copies {
		keep, ok := r.keeper(rows[id], list)
		for _, c := range list {
			if ok && c != keep && c.Millis <= keep.Millis && !r.Sentrys(c) {
				stale = append(stale, c)
			}
		}
	}
	removed, err := r.remove(ctx, stale)
	r.done[staleRemoved] += int64(len(removed))
	return removed, err
}

// keeper returns the copy that stays.
func (r *repair) keeper(row node.Node, copies []target.Copy) (keep target.Copy, ok bool) {
	for _, c := range copies {
		if r.Sentrys(c) && (!ok || c.Millis > keep.Millis) || !ok && r.home(row, c) && r.Copied(row) {
			keep, ok = c, true
		}
	}
	return keep, ok
}

// undo takes back what was created after the switch if the copies that it was to
// take the place of went meanwhile: then Sentry has deleted the node.
func (r *repair) undo(ctx context.Context, made []created, removed []target.Copy) error {
	var undone []target.Copy
	for _, m := range made {
		gone := slices.ContainsFunc(m.copies, func(c target.Copy) bool { return !slices.Contains(removed, c) })
		if r.SwitchedAt == 0 || !gone {
			continue
		}
		id := string(m.row.ID)
		found, err := r.Copies(ctx, m.index, []string{id})
		if err != nil {
			return err
		}
		for _, c := range found[id] {
			if r.home(m.row, c) && !r.Sentrys(c) {
				undone = append(undone, c)
			}
		}
	}
	undone, err := r.remove(ctx, undone)
	r.done[copiedAgain] -= int64(len(undone))
	return err
}

// remove removes documents that are still what was looked at, and has it seen.
func (r *repair) remove(ctx context.Context, copies []target.Copy) ([]target.Copy, error) {
	removed, err := r.Target.Remove(ctx, copies)
	indices := make(map[string]bool)
	for _, c := range removed {
		indices[c.Index] = true
	}
	if len(indices) > 0 {
		err = errors.Join(err, r.Target.Refresh(ctx, slices.Collect(maps.Keys(indices))...))
	}
	return removed, err
}
