package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// RepairMode says what to do about findings.
type RepairMode uint8

// The modes.
const (
	NoRepair  RepairMode = iota
	SayRepair            // say what a repair would do
	DoRepair             // say it, do it, and verify the days again that it was about
)

// The names of what a repair does, in Report.Repairs.
const (
	copiedAgain   = "nodes_copied_again"
	staleRemoved  = "stale_copies_removed"
	notRepairable = "not_repairable"
)

// repairBatch is how many nodes are repaired at a time, and repairBytes what
// one bulk request takes of them.
const (
	repairBatch = 50
	repairBytes = 8 << 20
)

// repair does what can be done about the findings.
//
//  1. Nodes that are missing, in the wrong place or older than their row are
//     copied again. The migration's rules hold: nothing newer is overwritten.
//  2. Of a node in several places, the older copies go, each only if it is still
//     the document that was looked at.
//  3. The days that findings were about are verified again, and what was
//     repaired also by its payload.
//
// Findings can be as many as nodes, so they are read from a file in portions.
func (v *Verification) repair(ctx context.Context) (err error) {
	if v.options.Repair == NoRepair || v.findings.total() == 0 {
		return nil
	}
	if err := v.announceRepair(); err != nil || v.options.Repair == SayRepair {
		return err
	}
	aside, err := v.findings.setAside()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aside.remove()) }()
	days := make(map[node.Day]bool)
	err = aside.portions(repairBatch, func(part []Finding) error {
		for _, f := range part {
			v.daysOf(f, days)
		}
		return v.repairPart(ctx, part)
	})
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return v.verifyAgain(ctx, days, aside)
}

// announceRepair says what a repair does, or would do.
func (v *Verification) announceRepair() error {
	var can, stale, cannot int64
	err := v.findings.each(func(f Finding) error {
		switch {
		case !v.repairable(f):
			cannot++
			return nil
		case f.Class == TwoPlaces || f.Class == WrongDay:
			stale++
		}
		can++
		return nil
	})
	if err != nil {
		return err
	}
	v.options.Notify(Event{Kind: Repairing, Findings: can, Cause: fmt.Sprintf(
		"repair: %s to copy again, %s to leave with one copy; %s that no repair is known for",
		plural(can, "node"), plural(stale, "node"), plural(cannot, "finding"))})
	v.repairs = map[string]int64{copiedAgain: 0, staleRemoved: 0, notRepairable: cannot}
	if v.options.Repair == SayRepair {
		v.repairs = nil
	}
	return nil
}

// repairable says whether copying again or removing copies can help. After the
// switch a node that is missing may be one that Sentry has deleted: it must not
// come back.
func (v *Verification) repairable(f Finding) bool {
	switch f.Class {
	case Missing:
		return f.ID != "" && v.scope.switchedAt == 0
	case TwoPlaces, WrongDay, Different:
		return f.ID != ""
	}
	return false
}

// daysOf adds the days that a finding is about.
func (v *Verification) daysOf(f Finding, days map[node.Day]bool) {
	if day, err := node.ParseDay(f.Day); err == nil {
		days[day] = true
	}
	for _, index := range f.Indices {
		if day, ok := v.Target.Backend().DayOf(index); ok {
			days[day] = true
		}
	}
}

// made is a document that a repair created in place of others.
type made struct {
	row    row
	index  string
	copies []target.Copy // that were there before
}

// repairPart repairs some nodes by what both sides have at this moment.
func (v *Verification) repairPart(ctx context.Context, part []Finding) error {
	var ids []string
	for _, f := range part {
		if v.repairable(f) {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	copies, err := v.copiesOf(ctx, ids)
	if err != nil {
		return err
	}
	rows, err := v.newest(ctx, ids, copies)
	if err != nil {
		return err
	}
	created, err := v.copyAgain(ctx, rows, copies)
	if err != nil {
		return err
	}
	removed, err := v.removeStale(ctx, rows)
	if err != nil {
		return err
	}
	return v.undo(ctx, created, removed)
}

// newest reads the newest row of each id, where an index of the ids is damaged too.
func (v *Verification) newest(ctx context.Context, ids []string, copies map[string][]target.Copy) (map[string]row, error) {
	list, seen := make([]suspect, len(ids)), make(map[string][]sighting)
	for i, id := range ids {
		list[i].id = id
		for _, c := range copies[id] {
			seen[id] = append(seen[id], sighting{c.Index, c.Millis})
		}
	}
	latest, err := v.latest(ctx, list, seen)
	if err != nil {
		return nil, err
	}
	c := v.newComparer()
	rows, _, err := c.fetch(ctx, ids)
	if err != nil {
		return nil, err
	}
	for id, micros := range latest {
		if rows[id].micros < micros {
			if err := c.fetchAt(ctx, id, micros, rows); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

func (v *Verification) copiesOf(ctx context.Context, ids []string) (map[string][]target.Copy, error) {
	var found []target.Copy
	err := v.again(ctx, func() (err error) { found, err = v.Target.Copies(ctx, v.Target.Backend().Alias, ids); return err })
	if err != nil && !target.IsGone(err) {
		return nil, err
	}
	copies := make(map[string][]target.Copy)
	for _, c := range found {
		copies[c.ID] = append(copies[c.ID], c)
	}
	return copies, nil
}

// wanted says whether a row is to be written, where its copies are: not if one of
// them is as it should be, if one is newer, or if Sentry has deleted it since the
// switch.
func (v *Verification) wanted(r row, copies []target.Copy) bool {
	if r.micros >= v.horizon() || v.rejected.has([]byte(r.id), r.micros) || len(copies) == 0 && v.scope.switchedAt != 0 {
		return false
	}
	home := v.Target.Backend().IndexOf(node.DayOf(r.micros))
	for _, c := range copies {
		if c.Millis > node.Millis(r.micros) || v.scope.sentrys(c.ID, c.Millis) || c.Index == home && c.Millis == node.Millis(r.micros) {
			return false
		}
	}
	return true
}

// copyAgain writes rows to their days' indices, and returns what it created.
func (v *Verification) copyAgain(ctx context.Context, rows map[string]row, copies map[string][]target.Copy) (created []made, err error) {
	days := make(map[node.Day][]made)
	for _, r := range rows {
		if day := node.DayOf(r.micros); v.wanted(r, copies[r.id]) {
			days[day] = append(days[day], made{r, v.Target.Backend().IndexOf(day), copies[r.id]})
		}
	}
	for day, list := range days {
		// An index that is gone was dropped by Sentry's cleanup or by hand: no verb
		// makes it again. One that the reader cannot use is not written to.
		holding, behind := v.scope.indices[v.Target.Backend().IndexOf(day)]
		index, there, err := v.Target.Daily(ctx, day)
		if err != nil {
			return nil, err
		}
		if !there || !behind || holding.Problem != "" || v.scope.apart[day] != 0 {
			v.repairs[notRepairable] += int64(len(list))
			continue
		}
		index.SwitchedAt = v.scope.switchedAt // what Sentry wrote since is left alone
		for _, one := range list {
			fresh, err := v.writeRow(ctx, index, one.row)
			if err != nil {
				return nil, err
			}
			if fresh {
				created = append(created, one)
			}
		}
		if err := v.Target.Refresh(ctx, index.Name); err != nil {
			return nil, err
		}
	}
	return created, nil
}

// writeRow writes a row, and says whether no document was in its place.
func (v *Verification) writeRow(ctx context.Context, index target.Index, r row) (created bool, err error) {
	n := node.Node{ID: []byte(r.id), Data: r.data, Micros: r.micros}
	batch := target.NewBatch(repairBytes)
	// With an external version, the trace of a document that was deleted within
	// the last minute (index.gc_deletes) would refuse the node.
	batch.Reset(target.CreateOnly)
	batch.Append(n, node.NewChecker(node.Full)) // what is not accepted stays listed
	if batch.Len() == 0 {
		return false, nil
	}
	outcome, err := v.Target.Write(ctx, index, batch)
	stored := outcome.Fates[node.Stored]
	v.repairs[copiedAgain] += stored
	return stored > int64(outcome.Replaced), err
}

// removeStale leaves one copy of each row's id: Sentry's own since the switch, or
// else the row's version in its day's index. Only older copies go, and only while
// the alias shows the one that stays.
func (v *Verification) removeStale(ctx context.Context, rows map[string]row) (removed []target.Copy, err error) {
	copies, err := v.copiesOf(ctx, slices.Collect(maps.Keys(rows)))
	if err != nil {
		return nil, err
	}
	var stale []target.Copy
	for id, list := range copies {
		keep, ok := v.keeper(rows[id], list)
		for _, c := range list {
			if ok && c != keep && c.Millis <= keep.Millis && !v.scope.sentrys(c.ID, c.Millis) {
				stale = append(stale, c)
			}
		}
	}
	removed, err = v.Target.Remove(ctx, stale)
	v.repairs[staleRemoved] += int64(len(removed))
	return removed, errors.Join(err, v.refresh(ctx, removed))
}

// keeper returns the copy that stays.
func (v *Verification) keeper(r row, copies []target.Copy) (keep target.Copy, ok bool) {
	home := v.Target.Backend().IndexOf(node.DayOf(r.micros))
	for _, c := range copies {
		own := v.scope.sentrys(c.ID, c.Millis)
		if own && (!ok || c.Millis > keep.Millis) || !ok && c.Index == home && c.Millis == node.Millis(r.micros) && r.micros < v.horizon() {
			keep, ok = c, true
		}
	}
	return keep, ok
}

// undo takes back what was created after the switch if the copies that it was to
// take the place of went meanwhile: then Sentry has deleted the node.
func (v *Verification) undo(ctx context.Context, created []made, removed []target.Copy) error {
	var undone []target.Copy
	for _, m := range created {
		gone := slices.ContainsFunc(m.copies, func(c target.Copy) bool { return !slices.Contains(removed, c) })
		if v.scope.switchedAt == 0 || !gone {
			continue
		}
		var found []target.Copy
		err := v.again(ctx, func() (err error) { found, err = v.Target.Copies(ctx, m.index, []string{m.row.id}); return err })
		if err != nil {
			return err
		}
		for _, c := range found {
			if c.Millis == node.Millis(m.row.micros) && !v.scope.sentrys(c.ID, c.Millis) {
				undone = append(undone, c)
			}
		}
	}
	undone, err := v.Target.Remove(ctx, undone)
	v.repairs[copiedAgain] -= int64(len(undone))
	return errors.Join(err, v.refresh(ctx, undone))
}

func (v *Verification) refresh(ctx context.Context, copies []target.Copy) error {
	indices := make(map[string]bool)
	for _, c := range copies {
		indices[c.Index] = true
	}
	if len(indices) == 0 {
		return nil
	}
	return v.Target.Refresh(ctx, slices.Collect(maps.Keys(indices))...)
}
