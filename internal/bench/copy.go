package main

import (
	"context"
	"fmt"
	"slices"
)

// What is wanted of the copy.
const (
	wantedRatio     = 0.90 // of the slower ceiling
	wantedCPU       = 1.5  // seconds per GB of data, with --check quick
	wantedMebibytes = 200  // at the peak
	wantedGrowth    = 1.1  // of the peak, against that of one of ten days: the same but for noise
)

// copySeries are the two ceilings and what the tool makes of them.
type copySeries struct {
	copy, replay, quick, full, oneDay *series
}

// measureCopy measures copying all days, and both servers without the tool.
// Every other round goes backwards: what comes first is not always the same.
func (b *bed) measureCopy(ctx context.Context, rounds int) (*part, error) {
	say("Making bulk bodies ...")
	ready, err := newReplay(ctx, b)
	if err != nil {
		return nil, err
	}
	newest := b.days[0]
	s := copySeries{
		copy:   &series{Name: "COPY to nowhere", measure: b.watched(b.copyToNowhere)},
		replay: &series{Name: "replay of ready-made bodies", measure: b.fresh(ready.run)},
		quick:  &series{Name: "tool, --check quick", measure: b.fresh(b.copyAll())},
		full:   &series{Name: "tool, --check full", measure: b.fresh(b.copyAll("--check", "full"))},
		oneDay: &series{Name: "tool, one of the days", measure: b.fresh(b.copyAll("--since", newest.String(), "--until", (newest + 1).String()))},
	}
	say("Warming up the servers ...")
	if _, err := b.fresh(ready.run)(ctx); err != nil {
		return nil, err
	}
	p := &part{
		Name: "Copy", Rows: b.rows, Bytes: b.bytes, Series: []*series{s.copy, s.replay, s.quick, s.full, s.oneDay},
		columns: perByte(),
	}
	order := slices.Clone(p.Series)
	for round := range rounds {
		if err := takeEach(ctx, fmt.Sprintf("Round %d of %d", round+1, rounds), order); err != nil {
			return nil, err
		}
		slices.Reverse(order)
	}
	p.Verdicts, p.Spread = s.judge()
	return p, nil
}

// copyAll runs `migrate` with its default settings, and args, from an empty
// checkpoint to the end.
func (b *bed) copyAll(args ...string) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		j, err := b.newJob(table)
		if err != nil {
			return sample{}, err
		}
		return j.copy(ctx, args...)
	}
}

// judge returns the verdicts, and how far the replay's speeds lie apart.
func (s copySeries) judge() ([]verdict, float64) {
	ceiling := min(s.copy.median(sample.megabytesPerSecond), s.replay.median(sample.megabytesPerSecond))
	peaks := s.quick.sorted(sample.peakMebibytes)
	speeds := s.replay.sorted(sample.megabytesPerSecond)
	return []verdict{
		atLeast("speed, of the slower ceiling", s.quick.median(sample.megabytesPerSecond)/ceiling, wantedRatio),
		atMost("CPU s per GB, --check quick", s.quick.median(sample.cpuPerGigabyte), wantedCPU),
		atMost("peak memory in MiB", peaks[len(peaks)-1], wantedMebibytes), // the highest, not the median: it has to fit every time
		atMost("peak memory, times that of one day", s.quick.median(sample.peakMebibytes)/s.oneDay.median(sample.peakMebibytes), wantedGrowth),
	}, speeds[len(speeds)-1] / speeds[0]
}
