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
	var done checkpoint.Ranges
	v.Checkpoint.View(func(s *checkpoint.State) {
		done = append(done, s.Verify.Day(d.day.String()).Payloads...)
	})
	cut := false
	pieces := min(d.rows/24/rowsPerPiece+1, maxUnits)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(v.options.Workers)
	for start := d.day.Start(); start < d.day.End(); start += hour {
		if !v.options.Subset.has(start / hour) {
			continue
		}
		for from := start; from < start+hour; from += hour/pieces + 1 {
			s := stretch{d.day, max(from, d.from), min(from+hour/pieces+1, start+hour, d.to), ofAll}
			if s.from >= s.to || done.Contains(checkpoint.Range{From: s.from, To: s.to}) {
				continue
			}
			if cut = cut || v.stopped(); cut {
				continue
			}
			group.Go(func() error { return v.compareStretch(ctx, s) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if cut {
		return ErrInterrupted
	}
	return nil
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
