package main

import (
	"context"
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
func (b *bed) measureCopy(ctx context.Context, rounds int) (*part, error) {
	say("Making bulk bodies ...")
	ready, err := newReplay(ctx, b)
	if err != nil {
		return nil, err
	}
	newest := b.days[0]
	s := copySeries{
		copy:   &series{Name: "COPY to nowhere", measure: b.watched(b.copyToNowhere(filling{table, b.days, b.rows, b.bytes}))},
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
	if err := backAndForth(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts, p.Spread = s.judge(), s.replay.spread()
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

func (s copySeries) judge() []verdict {
	ceiling := min(s.copy.median(sample.megabytesPerSecond), s.replay.median(sample.megabytesPerSecond))
	peaks := s.quick.sorted(sample.peakMebibytes)
	return []verdict{
		atLeast("speed, of the slower ceiling", s.quick.median(sample.megabytesPerSecond)/ceiling, wantedRatio),
		atMost("CPU s per GB, --check quick", s.quick.median(sample.cpuPerGigabyte), wantedCPU),
		atMost("peak memory in MiB", peaks[len(peaks)-1], wantedMebibytes), // the highest, not the median: it has to fit every time
		atMost("peak memory, times that of one day", s.quick.median(sample.peakMebibytes)/s.oneDay.median(sample.peakMebibytes), wantedGrowth),
	}
}
