package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

const (
	hour = int64(3600e6)
	// rowsPerPiece is how many rows one reading of payloads takes at most, if
	// they are spread evenly: some seconds, and what a crash costs.
	rowsPerPiece = 10_000
)

// compareAll compares the payloads of all hours of the subset that are not
// recorded yet.
func (v *Verification) compareAll(ctx context.Context) error {
	for _, d := range v.scope.days {
		if err := v.compareHours(ctx, d); err != nil {
			return fmt.Errorf("verify day %s: %w", d.day, err)
		}
	}
	return nil
}

func (v *Verification) compareHours(ctx context.Context, d scopeDay) error {
	cut := false
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(v.options.Workers)
	for _, s := range v.stretches(d) {
		if cut = v.stopped(); cut {
			break
		}
		group.Go(func() error { return v.compareStretch(ctx, s) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if cut {
		return ErrInterrupted
	}
	return nil
}

// stretches cuts what is not compared yet of a day, or of the subset's hours
// of it, into pieces of about rowsPerPiece rows. What is recorded is left out to
// the microsecond: the cuts of the run before may have been others.
func (v *Verification) stretches(d scopeDay) (list []stretch) {
	var done checkpoint.Ranges
	v.Checkpoint.View(func(s *checkpoint.State) {
		done = append(done, s.Verify.Day(d.day.String()).Payloads...)
	})
	units := []checkpoint.Range{{From: d.from, To: d.to}}
	if v.options.Subset.Of != 0 {
		units = v.options.Subset.hours(d)
	}
	width := (d.to-d.from)/(d.rows/rowsPerPiece+1) + 1
	for _, u := range units {
		for _, missing := range done.Missing(u.From, u.To) {
			for from := missing.From; from < missing.To; from += width {
				list = append(list, stretch{d.day, from, min(from+width, missing.To), ofAll})
			}
		}
	}
	return list
}

// hours returns the hours of a day that belong to the subset.
func (s Subset) hours(d scopeDay) (units []checkpoint.Range) {
	for start := d.day.Start(); start < d.day.End(); start += hour {
		r := checkpoint.Range{From: max(start, d.from), To: min(start+hour, d.to)}
		if int(modulo(start/hour, int64(s.Of))) == s.Part-1 && r.From < r.To {
			units = append(units, r)
		}
	}
	return units
}

// compareStretch compares a stretch and records it.
func (v *Verification) compareStretch(ctx context.Context, s stretch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var mu sync.Mutex
	var counted Day
	payloads := &suspects{Verification: v, look: v.lookPayloads, count: func(change func(*Day)) {
		mu.Lock()
		defer mu.Unlock()
		change(&counted)
	}}
	if err := v.compareRange(ctx, payloads, s); err != nil {
		return err
	}
	if err := payloads.flush(ctx); err != nil {
		return err
	}
	return v.recordStretch(ctx, s, &counted)
}

// recordStretch adds to the record of a day what was counted of a part of it.
func (v *Verification) recordStretch(ctx context.Context, s stretch, counted *Day) error {
	size, err := v.findings.sync()
	if err != nil {
		return err
	}
	var failed error
	err = v.Checkpoint.Update(ctx, func(state *checkpoint.State) {
		record := state.Verify.Day(s.day.String())
		var day Day
		if failed = json.Unmarshal(record.Result, &day); failed != nil {
			return
		}
		day.add(counted)
		var result []byte
		if result, failed = json.Marshal(day); failed != nil {
			return
		}
		record.Result, state.Verify.Findings = result, max(size, state.Verify.Findings)
		record.Payloads = record.Payloads.Add(checkpoint.Range{From: s.from, To: s.to})
	})
	if failed != nil {
		return fmt.Errorf("record verified day %s: %w", s.day, failed)
	}
	return err
}
