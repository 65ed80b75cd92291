package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// begin learns what there is to compare, and continues the record of an earlier
// run that was asked for the same.
func begin(ctx context.Context, parts Parts, o Options, m *meter) (*run, error) {
	if err := CheckWritable(o.Findings); err != nil {
		return nil, err
	}
	r := &run{
		Options: o, sides: &sides{parts.Source, parts.Target, o.Notify}, meter: m,
		record: &record{Checkpoint: parts.Checkpoint},
	}
	var listed int64
	r.record.View(func(s *checkpoint.State) { listed = s.Rejected.List })
	var err error
	if r.rejected, err = readRejections(o.RejectedList, listed); err != nil {
		return nil, err
	}
	if r.scope, err = readScope(ctx, r.sides, o, parts.Checkpoint); err != nil {
		return nil, err
	}
	if err := r.resume(ctx); err != nil {
		return nil, err
	}
	m.planned.Store(r.comparisons())
	return r, nil
}

// dayForm is raised when fields of Day get other names: what the checkpoint keeps of
// days with those is not read on, and they are compared again.
const dayForm = 2

// request names what a run was asked for, but for the subset: subsets add up.
func (r *run) request() string {
	text := fmt.Sprintf("%s days=%d since=%d until=%d horizon=%d accept=%s", r.Level, dayForm, r.Since, r.Until, r.horizon, r.Accept)
	r.record.View(func(s *checkpoint.State) {
		text += fmt.Sprintf(" switched=%d", s.CatchUp.SwitchedAt)
		if c := s.CatchUp.Completed; c != nil {
			text += fmt.Sprintf(" completed=%d", c.Until)
		}
	})
	if r.Level == Sample {
		text += fmt.Sprintf(" seed=%d confidence=%g max-defects=%g", r.Seed, r.Confidence, r.MaxDefects)
	}
	return text
}

// resume continues the record of an unfinished run that was asked for the same, or
// begins a new one.
func (r *run) resume(ctx context.Context) error {
	if err := r.record.load(); err != nil {
		return err
	}
	request := r.request()
	var size int64
	var known bool
	r.record.View(func(s *checkpoint.State) {
		if known = s.Verify != nil && s.Verify.Run == request && !s.Verify.Complete; known {
			size = s.Verify.Findings
		}
	})
	var err error
	if known {
		r.Notify(Event{Kind: Resumed})
		err = r.forgetOutdated(ctx)
	} else {
		err = r.restart(ctx, request)
	}
	if err != nil {
		return err
	}
	terms := r.record.verify()
	rounds := make(map[string]int)
	for name, d := range terms.Days {
		rounds[name] = d.Round
	}
	// The seed that was given is mixed with the number of samples that are used up.
	r.rate, r.seed = terms.Rate, r.Seed+terms.Draws*0x9e3779b97f4a7c15
	r.record.findings, err = openFindings(r.Findings, size, rounds)
	return err
}

// forgetOutdated forgets results of days whose index is not what was compared any
// more. Of an index that Sentry writes to, the payloads stay compared: else they
// never would be.
func (r *run) forgetOutdated(ctx context.Context) error {
	outdated, changed := make(map[string]bool), make(map[string]bool)
	for name, d := range r.record.days {
		print, behind := r.prints[d.Index]
		switch before := d.Print; {
		case before == nil && !behind, before != nil && behind && *before == print:
			continue
		case before == nil || !behind || before.UUID != print.UUID || d.Ours:
			changed[name] = true
		}
		outdated[name] = true
	}
	if len(outdated) == 0 {
		return nil
	}
	return r.record.forget(ctx, outdated, func(v *checkpoint.Verify) {
		for name := range changed {
			delete(r.record.kept, name)
			*v.Day(name) = checkpoint.VerifiedDay{Round: v.Day(name).Round + 1}
		}
	})
}

// restart begins a new record. A sample that found something, or was used to
// repair, is known: it says nothing about the rest any more.
func (r *run) restart(ctx context.Context, request string) error {
	rate, err := r.drawRate(ctx)
	if err != nil {
		return err
	}
	found := r.record.drawnDefects()
	err = r.record.Update(ctx, func(s *checkpoint.State) {
		next := &checkpoint.Verify{Run: request, Started: time.Now().UTC(), Rate: rate}
		if before := s.Verify; before != nil {
			next.Draws, next.Defects = before.Draws, before.Defects+found
			if found > 0 || before.Repaired {
				next.Draws++
			}
		}
		s.Verify = next
	})
	clear(r.record.days)
	return err
}

// drawRate is the share of the nodes that are drawn: so many that the bound is
// what was asked for even if the certainty strata are as large as they may be.
func (r *run) drawRate(ctx context.Context) (float64, error) {
	population := -int64(len(r.rejected))
	for _, d := range r.days {
		population += d.rows - int64(r.certainLimit(d))
	}
	if from := max(r.from, r.certain); from < r.until {
		late, err := r.sides.rows(ctx, from, r.until)
		if err != nil {
			return 0, err
		}
		population -= late
	}
	if wanted := sampleSize(r.Confidence, r.MaxDefects); wanted < population {
		return float64(wanted) / float64(population), nil
	}
	return 1, nil
}
