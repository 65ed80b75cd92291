package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
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
//  2. Of a node in several places, the copies go that the newest one supersedes,
//     each only if it is still the document that was looked at.
//  3. The days that findings were about are verified again, and what was
//     repaired also by its payload.
func (v *Verification) repair(ctx context.Context) error {
	if v.options.Repair == NoRepair || v.findings.total() == 0 {
		return nil
	}
	var broken []Finding
	var can, stale, cannot int64
	err := v.findings.each(func(f Finding) error {
		switch {
		case !v.repairable(f):
			cannot++
		case f.Class == TwoPlaces || f.Class == WrongDay:
			stale++
			can++
		default:
			can++
		}
		broken = append(broken, f)
		return nil
	})
	if err != nil {
		return err
	}
	v.options.Notify(Event{Kind: Repairing, Findings: can, Cause: fmt.Sprintf(
		"repair: %s to copy again, %s to leave with one copy; %s that no repair is known for",
		plural(can, "node"), plural(stale, "node"), plural(cannot, "finding"))})
	if v.options.Repair == SayRepair {
		return nil
	}
	v.repairs = map[string]int64{copiedAgain: 0, staleRemoved: 0, notRepairable: cannot}
	for part := range slices.Chunk(broken, repairBatch) {
		if err := v.repairPart(ctx, part); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	return v.verifyAgain(ctx, broken)
}

// repairable says whether copying again or removing copies can help. After the
// switch a node that is missing may be one that Sentry has deleted: it must not
// come back.
func (v *Verification) repairable(f Finding) bool {
	switch f.Class {
	case Missing:
		return f.ID != "" && v.switchedAt() == 0
	case TwoPlaces, WrongDay, Different:
		return f.ID != ""
	}
	return false
}

func (v *Verification) switchedAt() (micros int64) {
	v.Checkpoint.View(func(s *checkpoint.State) { micros = s.CatchUp.SwitchedAt })
	return micros
}

func (v *Verification) repairPart(ctx context.Context, part []Finding) error {
	var ids, doubled []string
	for _, f := range part {
		if !v.repairable(f) {
			continue
		}
		ids = append(ids, f.ID)
		if f.Class == TwoPlaces || f.Class == WrongDay {
			doubled = append(doubled, f.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := v.copyAgain(ctx, ids); err != nil {
		return err
	}
	if len(doubled) == 0 {
		return nil
	}
	return v.removeStale(ctx, doubled)
}

// copyAgain writes the rows of the ids to their days' indices.
func (v *Verification) copyAgain(ctx context.Context, ids []string) error {
	rows, _, err := v.newComparer().fetch(ctx, ids)
	if err != nil {
		return err
	}
	days := make(map[node.Day][]row)
	for _, r := range rows {
		if r.micros < v.horizon() && !v.rejected.has([]byte(r.id), r.micros) {
			days[node.DayOf(r.micros)] = append(days[node.DayOf(r.micros)], r)
		}
	}
	for day, list := range days {
		// An index that is gone was dropped by Sentry's cleanup or by hand: that
		// is not undone, by no verb.
		index, there, err := v.Target.Daily(ctx, day)
		if err != nil {
			return err
		}
		if !there {
			v.repairs[notRepairable] += int64(len(list))
			continue
		}
		index.SwitchedAt = v.switchedAt() // what Sentry wrote since is left alone
		if err := v.writeRows(ctx, index, list); err != nil {
			return err
		}
	}
	return nil
}

func (v *Verification) writeRows(ctx context.Context, index target.Index, list []row) error {
	batch, check := target.NewBatch(repairBytes), node.NewChecker(node.Full)
	// With an external version, the trace of a document that was deleted within
	// the last minute (index.gc_deletes) would refuse the node.
	batch.Reset(target.CreateOnly)
	send := func() error {
		outcome, err := v.Target.Write(ctx, index, batch)
		v.repairs[copiedAgain] += outcome.Fates[node.Stored]
		batch.Reset(target.CreateOnly)
		return err
	}
	for _, r := range list {
		n := node.Node{ID: []byte(r.id), Data: r.data, Micros: r.micros}
		if batch.Len() > 0 && batch.Size()+batch.Room(n) > repairBytes {
			if err := send(); err != nil {
				return err
			}
		}
		batch.Append(n, check) // what is not accepted stays listed
	}
	if batch.Len() > 0 {
		if err := send(); err != nil {
			return err
		}
	}
	return v.Target.Refresh(ctx, index.Name)
}

// removeStale leaves one copy of each id: the newest of those that are in the
// index that their own timestamp asks for.
func (v *Verification) removeStale(ctx context.Context, ids []string) error {
	copies, err := v.Target.Copies(ctx, v.Target.Backend().Alias, ids)
	if err != nil {
		return err
	}
	rows, err := v.locate(ctx, ids)
	if err != nil {
		return err
	}
	newest := make(map[string]target.Copy)
	for _, c := range copies {
		home := c.Index == v.Target.Backend().IndexOf(node.DayOf(c.Millis*1000))
		micros, there := rows[c.ID]
		known, ok := newest[c.ID]
		if home && there && c.Millis >= node.Millis(micros) && (!ok || c.Millis > known.Millis) {
			newest[c.ID] = c
		}
	}
	var stale []target.Copy
	for _, c := range copies {
		if keep, ok := newest[c.ID]; ok && c != keep {
			stale = append(stale, c)
		}
	}
	removed, err := v.Target.Remove(ctx, stale)
	v.repairs[staleRemoved] += int64(len(removed))
	if err != nil || len(removed) == 0 {
		return err
	}
	indices := make(map[string]bool)
	for _, c := range removed {
		indices[c.Index] = true
	}
	return v.Target.Refresh(ctx, slices.Collect(maps.Keys(indices))...)
}

// verifyAgain compares anew the days that findings were about. The payloads
// that are all compared already are not compared again, but for the findings'.
func (v *Verification) verifyAgain(ctx context.Context, broken []Finding) error {
	days := make(map[node.Day]bool)
	for _, f := range broken {
		if day, err := node.ParseDay(f.Day); err == nil {
			days[day] = true
		}
		for _, index := range f.Indices {
			if day, ok := v.Target.Backend().DayOf(index); ok {
				days[day] = true
			}
		}
	}
	if err := v.findings.reset(); err != nil {
		return err
	}
	if err := v.forget(ctx, days); err != nil {
		return err
	}
	if err := v.readIndices(ctx, &v.scope); err != nil {
		return err
	}
	if err := v.compareIDs(ctx); err != nil {
		return err
	}
	if v.options.Level != IDs {
		if err := v.comparePayloadsAgain(ctx, broken); err != nil {
			return err
		}
	}
	size, err := v.findings.sync()
	if err != nil {
		return err
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) { s.Verify.Findings = size })
}

// forget takes the results of days out of the record, but for what was counted
// of all payloads.
func (v *Verification) forget(ctx context.Context, days map[node.Day]bool) error {
	results, err := v.results()
	if err != nil {
		return err
	}
	v.compared = make(map[node.Day]Compared)
	for _, result := range results {
		if day, err := node.ParseDay(result.Day); err == nil && days[day] {
			result.All.Defects = 0 // counted anew
			v.compared[day] = result.All
		}
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		s.Verify.Findings = 0
		for day := range days {
			s.Verify.Day(day.String()).Result = nil
		}
	})
}

func (v *Verification) comparePayloadsAgain(ctx context.Context, broken []Finding) error {
	payloads := &suspects{Verification: v, look: v.lookPayloads, count: func(change func(*Day)) { change(&Day{}) }}
	for _, f := range broken {
		day, err := node.ParseDay(f.Day)
		if err != nil || f.ID == "" || f.Class == Extra {
			continue // it has no row to compare with
		}
		if err := payloads.add(ctx, suspect{id: f.ID, day: day, row: true}); err != nil {
			return err
		}
	}
	return payloads.flush(ctx)
}
