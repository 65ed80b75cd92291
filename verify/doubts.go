package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// doubt is why it is not safe to drop the old table, with what to do about it.
type doubt struct {
	reason string
	steps  []string
}

// Steps that several doubts have.
const (
	stepMigrate = "Run nodestore-migrate migrate to its end, then verify again."
	stepVerify  = "Run nodestore-migrate verify again."
	stepSwitch  = "Switch Sentry to OpenSearch as docs/switch.md says, with nodestore-migrate migrate --switched-at TIME at its end; then verify again."
)

// doubts asks everything that the verdict rests on. What is not known is a doubt.
func (v *Verification) doubts(ctx context.Context, r *Report) ([]doubt, error) {
	list := append(r.findingDoubts(), r.scopeDoubts(v.wholeScope())...)
	list = append(list, v.switchDoubts()...)
	list = append(list, v.unsealed(r)...)
	list = append(list, r.givenUpDoubts()...)
	changed, err := v.targetDoubts(ctx, r)
	if err != nil {
		return nil, err
	}
	list = append(list, changed...)
	behind, err := v.behindSwitch(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, behind...)
	if v.options.Level == Counts || !r.Complete || !v.wholeScope() {
		return list, nil // a doubt already, and nothing to count against
	}
	difference, err := v.unaccounted(ctx, r)
	if source.Damaged(err) || source.TooLong(err) {
		return append(list, doubt{"the table cannot be counted whole: " + err.Error(), []string{
			"Mend that (" + hint.Of(err) + "), then run migrate and verify again.",
		}}), nil
	}
	if err != nil || difference == "" {
		return list, err
	}
	return append(list, doubt{difference, []string{
		stepVerify,
		"If it says so again while nothing writes to or deletes from " + r.Source.Table + ", an index of the table is damaged: REINDEX it, then run migrate and verify again.",
	}}), nil
}

// findingDoubts are about what was compared and is not right. A step never
// advises what will refuse or destroy.
func (r *Report) findingDoubts() (list []doubt) {
	if len(r.Lost) > 0 {
		days := make([]string, len(r.Lost))
		for i, d := range r.Lost {
			days[i] = d.Day
		}
		list = append(list, doubt{
			"lost, since the index is gone and no retention covers the day: " + shortList(days),
			[]string{"Run nodestore-migrate migrate --copy-again " + strings.Join(days, ",") + ", or if Sentry's cleanup dropped them, migrate --retention; then verify again."},
		})
	}
	if r.Findings.Total == 0 {
		return list
	}
	counts, d := r.Findings.Counts, doubt{reason: plural(r.Findings.Total, "finding") + " open"}
	repairable := counts[TwoPlaces] + counts[WrongDay] + counts[Different]
	if r.SwitchedAt == "" {
		repairable += counts[Missing]
	} else if n := counts[Missing]; n > 0 {
		d.steps = append(d.steps, fmt.Sprintf("Sentry may have deleted the %s since the switch; if not, nodestore-migrate migrate --copy-missing copies them.", plural(n, "missing node")))
	}
	if repairable > 0 {
		d.steps = append(d.steps, "Run nodestore-migrate verify --repair --dry-run to see what a repair would do, then without --dry-run.")
	}
	if n := counts[Extra]; n > 0 {
		step := fmt.Sprintf("Look at the %s in %s", plural(n, "document without a row"), r.Findings.File)
		if r.SwitchedAt == "" {
			step += ": rows that Sentry deleted after they were copied go with the next nodestore-migrate migrate"
		}
		d.steps = append(d.steps, step+".")
	}
	if n := counts[Unreadable] + counts[Uncompared]; n > 0 {
		d.steps = append(d.steps, fmt.Sprintf("Look at the %s in %s that cannot be read or compared.", plural(n, "node"), r.Findings.File))
	}
	return append(list, d)
}

// scopeDoubts are about what was not compared.
func (r *Report) scopeDoubts(whole bool) (list []doubt) {
	payloads := []string{"Run nodestore-migrate verify with --level sample or full: payloads have not been compared."}
	switch {
	case r.Level == Counts:
		list = append(list, doubt{"only numbers were compared", payloads})
	case r.Level == IDs:
		list = append(list, doubt{"no payload was compared", payloads})
	case !r.Complete:
		list = append(list, doubt{"only a part of the payloads was compared so far", []string{
			"Run the other subsets, or verify without --subset: what is compared already is not compared again.",
		}})
	}
	if !whole {
		list = append(list, doubt{"only some of the days were compared", []string{"Run nodestore-migrate verify without --since and --until."}})
	}
	if r.Fresh > 0 {
		list = append(list, doubt{plural(r.Fresh, "row") + " newer than the last pass of the migration", []string{stepMigrate}})
	}
	if n := r.Total.Pending; n > 0 {
		list = append(list, doubt{plural(n, "node") + " rewritten since the last pass of the migration", []string{stepMigrate}})
	}
	if r.Borrowed > 0 {
		list = append(list, doubt{plural(int64(r.Borrowed), "index") + " with settings that are still to be given back", []string{
			"Run nodestore-migrate migrate --restore-settings, or migrate to its end.",
		}})
	}
	return list
}

// givenUpDoubts are about rows that are not on the target, and that the operator
// has not given up.
func (r *Report) givenUpDoubts() (list []doubt) {
	if r.Rejected.Open > 0 {
		reasons := slices.Sorted(maps.Keys(r.Rejected.ByReason))
		names := make([]string, len(reasons))
		for i, reason := range reasons {
			names[i] = string(reason)
		}
		list = append(list, doubt{plural(r.Rejected.Open, "node") + " rejected for a reason that is not accepted by name", []string{
			fmt.Sprintf("Look at the rejected nodes in %s; give them up with --accept-rejected %s.", r.Rejected.File, strings.Join(names, ",")),
		}})
	}
	if n := r.Retired.Open; n > r.Retired.GiveUp {
		list = append(list, doubt{plural(n, "row") + " of days that were passed over as out of retention, and that the retention last given to migrate does not cover", []string{
			fmt.Sprintf("Run migrate with the --retention of Sentry's cleanup, or give these rows up with --accept-out-of-retention %d.", n),
		}})
	}
	return list
}

// defaultOverlap is the migration's, for a checkpoint that does not name it.
const defaultOverlap = 15 * time.Minute

// switchDoubts are about the order of events: the switch, a migration of all days
// that ended after it, and only then this comparison.
func (v *Verification) switchDoubts() (list []doubt) {
	var c checkpoint.CatchUp
	var run checkpoint.Verify
	var until int64
	v.Checkpoint.View(func(s *checkpoint.State) { c, run, until = s.CatchUp, *s.Verify, s.CopyUntil })
	overlap := c.Overlap
	if overlap == 0 {
		overlap = defaultOverlap.Microseconds()
	}
	after := fmt.Sprintf("Run nodestore-migrate migrate, for all days, from %s on; then verify again.", isoTime(c.SwitchedAt+overlap))
	completed := c.Completed
	if completed == nil {
		completed = &checkpoint.Completed{}
	}
	switch {
	case c.SwitchedAt == 0:
		list = append(list, doubt{"no switch is recorded: as far as is known, Sentry still writes to the old table", []string{stepSwitch}})
	case !completed.Switched || !completed.Whole:
		list = append(list, doubt{"no migration of all days has ended since the switch", []string{after}})
	case completed.Until < c.SwitchedAt+overlap:
		list = append(list, doubt{fmt.Sprintf("the last migration ended less than %s after the switch, and rows can be committed that late",
			time.Duration(overlap)*time.Microsecond), []string{after}})
	case until != completed.Until:
		list = append(list, doubt{"the last migration did not come to its end", []string{stepMigrate}})
	case !run.Started.After(completed.At):
		list = append(list, doubt{"this comparison began before the last migration ended", []string{stepVerify}})
	}
	if run.Repaired && v.options.Level == Sample {
		list = append(list, doubt{usedUp, []string{
			"Run nodestore-migrate verify again: it draws another sample.",
		}})
	}
	return list
}

// unsealed lists days that are over and that the migration has not finished.
func (v *Verification) unsealed(r *Report) []doubt {
	var days []string
	v.Checkpoint.View(func(s *checkpoint.State) {
		for i := range r.Days {
			d := &r.Days[i]
			day, err := node.ParseDay(d.Day)
			record, known := s.Days[d.Day]
			open := err == nil && day.End() <= s.CopyUntil && (d.Source > d.Rejected || d.Documents > 0)
			if open && (!known || record.Sealed.IsZero()) {
				days = append(days, d.Day)
			}
		}
	})
	if len(days) == 0 {
		return nil
	}
	slices.Sort(days)
	return []doubt{{"not finished by the migration: " + shortList(days), []string{stepMigrate}}}
}

// targetDoubts are about indices that lack shards, and about those that this tool
// alone fills and that changed since they were compared.
func (v *Verification) targetDoubts(ctx context.Context, r *Report) (list []doubt, err error) {
	var missing []string
	var now map[string]target.Fingerprint
	err = v.again(ctx, func() (err error) {
		if missing, err = v.Target.MissingShards(ctx); err == nil {
			now, err = v.Target.Fingerprints(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		list = append(list, doubt{"not all shards are there: " + shortList(missing), []string{"Bring the cluster back to green, then verify again."}})
	}
	var changed []string
	for i := range r.Days {
		if d := &r.Days[i]; d.Ours && d.Print != nil && *d.Print != now[d.Index] {
			changed = append(changed, d.Index)
		}
	}
	if len(changed) > 0 {
		list = append(list, doubt{"changed since they were compared: " + shortList(changed), []string{stepVerify}})
	}
	return list, nil
}

// behindSwitch is about a standby: it has to be replaying, and to have replayed as
// far as the last pass of the migration, which is behind the switch.
func (v *Verification) behindSwitch(ctx context.Context) ([]doubt, error) {
	var state source.Replay
	err := v.again(ctx, func() (err error) { state, err = v.Source.Replay(ctx); return err })
	if err != nil || !state.InRecovery {
		return nil, err
	}
	steps := []string{"Verify against the primary, or against a standby that replays what the primary writes."}
	switch {
	case state.Paused, !state.Receiving:
		return []doubt{{"the source is a standby that does not replay: rows can be missing from it", steps}}, nil
	case state.Until < v.horizon():
		return []doubt{{"the source is a standby that has not replayed as far as the last pass of the migration", steps}}, nil
	}
	return nil, nil
}

// shortList names the first of many.
func shortList(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
