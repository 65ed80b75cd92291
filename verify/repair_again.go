package verify

import (
	"context"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// verifyAgain compares the days again that findings were about. The payloads
// that are all compared already are not compared again, but for the findings'.
func (v *Verification) verifyAgain(ctx context.Context, days map[node.Day]bool, before *findings) error {
	if err := v.forget(ctx, days); err != nil {
		return err
	}
	if err := v.findings.reset(); err != nil {
		return err
	}
	if err := v.readIndices(ctx, &v.scope); err != nil {
		return err
	}
	if err := v.compareIDs(ctx); err != nil {
		return err
	}
	if v.options.Level != IDs {
		if err := v.comparePayloadsAgain(ctx, before); err != nil {
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
// of all payloads, and for the defects that a sample found.
func (v *Verification) forget(ctx context.Context, days map[node.Day]bool) error {
	if err := v.keepCompared(days); err != nil {
		return err
	}
	for day, all := range v.compared {
		all.Defects = 0 // counted again
		v.compared[day] = all
	}
	defects, err := v.sampleDefects()
	if err != nil {
		return err
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		s.Verify.Findings, s.Verify.Repaired = 0, true
		s.Verify.Defects += defects
		for day := range days {
			s.Verify.Day(day.String()).Result = nil
		}
	})
}

func (v *Verification) comparePayloadsAgain(ctx context.Context, before *findings) error {
	payloads := &suspects{Verification: v, look: v.lookPayloads, count: func(change func(*Day)) { change(&Day{}) }}
	err := before.each(func(f Finding) error {
		day, err := node.ParseDay(f.Day)
		if err != nil || f.ID == "" || f.Class == Extra {
			//lint:ignore nilerr it has no row to compare with
			return nil
		}
		return payloads.add(ctx, suspect{id: f.ID, day: day})
	})
	if err != nil {
		return err
	}
	return payloads.flush(ctx)
}
