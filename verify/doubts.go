package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target/evidence"
)

// Doubt is why it is not safe to drop the old table.
type Doubt struct {
	Kind   DoubtKind
	Reason string
	After  string // of MigrationEarly: the moment from which on a migration may begin
	Remedy string // of TableDamaged: what PostgreSQL's own error asks for
}

// DoubtKind says what would end a doubt. The figures are in the report.
type DoubtKind uint8

// The kinds of doubts.
const (
	LostDays        DoubtKind = iota + 1 // Report.Lost
	OpenFindings                         // Report.Findings
	NoPayloads                           // the level compares none
	PartOfPayloads                       // not Report.Complete
	PartOfDays                           // not all days were asked for
	MigrationBehind                      // a migration has to come to its end
	Borrowing                            // Report.Borrowed
	NoSwitch                             // none is recorded
	MigrationEarly                       // a migration of all days has to follow the switch
	ComparedEarly                        // before the migration ended, or what was compared has changed
	SampleUsed                           // the sample was used to repair
	RejectedOpen                         // Report.Rejected
	RetiredOpen                          // Report.Retired
	ClusterNotWhole                      // shards are missing
	StandbyBehind                        // the source is a standby that is not as far as the migration was
	Uncounted                            // a count of the table without its indexes has other rows
	TableDamaged                         // the table cannot be counted whole
	NotAsCopied                          // documents are not those that the migration wrote
)

// doubts asks everything that the verdict rests on. What is not known is a doubt.
type doubts struct {
	*reporter
	recorded checkpoint.Verify
}

func (d *doubts) add(kind DoubtKind, reason string) {
	d.result.Doubts = append(d.result.Doubts, Doubt{Kind: kind, Reason: reason})
}

func (d *doubts) collect(ctx context.Context) error {
	d.ofComparison()
	d.ofOrder()
	d.ofUnsealed()
	d.ofGivenUp()
	if d.Level == Counts || !d.result.Complete || !d.whole() { // a doubt already, and nothing to count against
		return inTurn(ctx, d.ofTarget, d.ofStandby)
	}
	return inTurn(ctx, d.ofTarget, d.ofStandby, d.ofTable)
}

// ofComparison are about what is not right, and what was not compared.
func (d *doubts) ofComparison() {
	r := &d.result
	if len(r.Lost) > 0 {
		days := make([]string, len(r.Lost))
		for i, l := range r.Lost {
			days[i] = l.Day
		}
		d.add(LostDays, "lost, since the index is gone and no retention covers the day: "+shortList(days))
	}
	if r.Findings.Total > 0 {
		d.add(OpenFindings, amount.Of(r.Findings.Total, "finding")+" open")
	}
	switch {
	case r.Level == Counts:
		d.add(NoPayloads, "only numbers were compared")
	case r.Level == IDs:
		d.add(NoPayloads, "no payload was compared")
	case !r.Complete:
		d.add(PartOfPayloads, "only a part of the payloads was compared so far")
	}
	if !d.whole() {
		d.add(PartOfDays, "only some of the days were compared")
	}
	if r.Newer > 0 {
		d.add(MigrationBehind, amount.Of(r.Newer, "row")+" newer than the last pass of the migration")
	}
	d.ofDigests()
	if n := r.Total.Pending; n > 0 {
		d.add(MigrationBehind, amount.Of(n, "node")+" rewritten since the last pass of the migration")
	}
	if r.Borrowed > 0 {
		d.add(Borrowing, amount.Of(int64(r.Borrowed), "index")+" with settings that are still to be given back")
	}
}

// ofDigests are about days whose documents are as many as the migration wrote, and by
// their ids not the same: rows and documents were changed alike. A sample may miss what
// else was. Where every payload is compared with its row, the report only shows it.
func (d *doubts) ofDigests() {
	if d.Level == Full || d.result.Findings.Total > 0 || d.result.Total.Pending > 0 {
		return
	}
	var changed []string
	for i := range d.result.Days {
		r := &d.result.Days[i]
		if r.Copied != nil && r.Present == r.Copied.Nodes && r.PresentIDs != r.Copied.IDs {
			changed = append(changed, r.Day)
		}
	}
	if len(changed) > 0 {
		d.add(NotAsCopied, "the ids of documents are not those that were copied, of these days: "+shortList(changed))
	}
}

// defaultOverlap is the migration's, for a checkpoint that does not name it.
const defaultOverlap = 15 * time.Minute

// ofOrder are about the order of events: the switch, a migration of all days
// that ended after it, and only then this comparison.
func (d *doubts) ofOrder() {
	var c checkpoint.CatchUp
	d.record.View(func(s *checkpoint.State) { c = s.CatchUp })
	overlap := time.Duration(c.Overlap) * time.Microsecond
	if overlap == 0 {
		overlap = defaultOverlap
	}
	completed := checkpoint.Completed{}
	if c.Completed != nil {
		completed = *c.Completed
	}
	settled := c.SwitchedAt + overlap.Microseconds()
	early := func(reason string) {
		d.result.Doubts = append(d.result.Doubts, Doubt{Kind: MigrationEarly, Reason: reason, After: isoTime(settled)})
	}
	switch {
	case c.SwitchedAt == 0:
		d.add(NoSwitch, "no switch is recorded: as far as is known, Sentry still writes to the old table")
	case !completed.Switched || !completed.Whole:
		early("no migration of all days has ended since the switch")
	case completed.Until < settled:
		early(fmt.Sprintf("the last migration ended less than %s after the switch, and rows can be committed that late", overlap))
	case d.horizon != completed.Until:
		d.add(MigrationBehind, "the last migration did not come to its end")
	case !d.recorded.Started.After(completed.At):
		d.add(ComparedEarly, "this comparison began before the last migration ended")
	}
	if d.recorded.Repaired && d.Level == Sample {
		d.add(SampleUsed, usedUp)
	}
}

// ofUnsealed names days that are over and that the migration has not finished.
func (d *doubts) ofUnsealed() {
	var days []string
	d.record.View(func(s *checkpoint.State) {
		for i := range d.result.Days {
			r := &d.result.Days[i]
			day, err := node.ParseDay(r.Day)
			record, known := s.Days[r.Day]
			open := err == nil && day.End() <= d.horizon && (r.Source > r.Rejected || r.Documents > 0)
			if open && (!known || record.Sealed.IsZero()) {
				days = append(days, r.Day)
			}
		}
	})
	if len(days) > 0 {
		d.add(MigrationBehind, "not finished by the migration: "+shortList(days))
	}
}

// ofGivenUp are about rows that are not on the target, and that the operator has
// not given up.
func (d *doubts) ofGivenUp() {
	if n := d.result.Rejected.Open; n > 0 {
		d.add(RejectedOpen, amount.Of(n, "node")+" rejected for a reason that is not accepted by name")
	}
	if n := d.result.Retired.Open; n > d.result.Retired.GiveUp {
		d.add(RetiredOpen, amount.Of(n, "row")+" of days that were passed over as out of retention, and that the retention last given to migrate does not cover")
	}
}

// ofTarget are about indices that lack shards, and about those that this tool
// alone fills and that changed since they were compared.
func (d *doubts) ofTarget(ctx context.Context) error {
	missing, err := answer(ctx, d.sides, func(ctx context.Context) ([]string, error) { return evidence.MissingShards(ctx, d.target) })
	if err != nil {
		return err
	}
	now, err := answer(ctx, d.sides, func(ctx context.Context) (map[string]evidence.Fingerprint, error) {
		return evidence.Fingerprints(ctx, d.target)
	})
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		d.add(ClusterNotWhole, "not all shards are there: "+shortList(missing))
	}
	var changed []string
	for i := range d.result.Days {
		if r := &d.result.Days[i]; r.Ours && r.Print != nil && *r.Print != now[r.Index] {
			changed = append(changed, r.Index)
		}
	}
	if len(changed) > 0 {
		d.add(ComparedEarly, "changed since they were compared: "+shortList(changed))
	}
	return nil
}

// ofStandby is about a standby: it has to be replaying, and to have replayed as
// far as the last pass of the migration, which is behind the switch.
func (d *doubts) ofStandby(ctx context.Context) error {
	state, err := answer(ctx, d.sides, d.source.Replay)
	switch {
	case err != nil || !state.InRecovery:
		return err
	case state.Paused, !state.Receiving:
		d.add(StandbyBehind, "the source is a standby that does not replay: rows can be missing from it")
	case state.Until < d.horizon:
		d.add(StandbyBehind, "the source is a standby that has not replayed as far as the last pass of the migration")
	}
	return nil
}

// ofTable counts the table without any index: that has to be what was compared.
func (d *doubts) ofTable(ctx context.Context) error {
	err := d.countTable(ctx)
	if source.Damaged(err) || source.TooLong(err) {
		d.result.Doubts = append(d.result.Doubts, Doubt{
			Kind: TableDamaged, Reason: "the table cannot be counted whole: " + err.Error(), Remedy: hint.Of(err),
		})
		return nil
	}
	return err
}

func (d *doubts) countTable(ctx context.Context) error {
	r := &d.result
	seen := tally{r.Total.Source + d.ahead.rows, r.Total.Moments + d.ahead.moments}
	for _, apart := range d.apartDays {
		of := tally{}
		_, err := d.entries(ctx, checkpoint.Range{From: apart.from, To: apart.to}, func() { of = tally{} },
			func(e source.Entry) error { of.add(e.Micros); return nil })
		if err != nil {
			return err
		}
		seen = tally{seen.rows + of.rows, seen.moments + of.moments}
	}
	plain, err := answer(ctx, d.sides, d.source.PlainCount)
	if err != nil {
		return err
	}
	plain.Rows -= r.Newer // they have a reason of their own
	listed, unlisted, err := d.unbounded(ctx)
	switch {
	case err != nil:
		return err
	case plain.Rows != seen.rows:
		d.add(Uncounted, fmt.Sprintf("a count of the table that uses no index has %s rows with a timestamp, and %s were compared", amount.Count(plain.Rows), amount.Count(seen.rows)))
	case plain.Sum != seen.moments && r.Newer == 0:
		d.add(Uncounted, "the timestamps of the table, summed without an index, are not those of the rows that were compared")
	case unlisted > 0 || plain.Unbounded != listed:
		d.add(Uncounted, fmt.Sprintf("%s of no usable timestamp, and %s of them listed as rejected", amount.Of(plain.Unbounded, "row"), amount.Count(listed)))
	}
	return nil
}

// unbounded counts the rows that no day has, by whether they are listed as rejected.
func (d *doubts) unbounded(ctx context.Context) (listed, unlisted int64, err error) {
	err = d.ask(ctx, func() error {
		listed, unlisted = 0, 0
		return d.source.Unbounded(ctx, func(id []byte, _ string) error {
			if known, ok := d.rejected[d.rejected.key(string(id), 0)]; ok && !known.bounded {
				listed++
			} else {
				unlisted++
			}
			return nil
		})
	})
	return listed, unlisted, err
}

// shortList names the first of many.
func shortList(names []string) string {
	const most = 10
	slices.Sort(names)
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
