package main

import (
	"context"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
)

// wantedVerifyCPU is in seconds per GB of data, with --level full.
const wantedVerifyCPU = 10

// measureFull measures comparing every payload, each time right after the copy
// that it compares.
func (b *bed) measureFull(ctx context.Context, rounds int) (*part, error) {
	filled := synth.Count{Rows: b.rows, Bytes: b.bytes}
	var latest *job
	copied := &series{Name: "tool, migrate", measure: b.fresh(func(ctx context.Context) (s sample, err error) {
		if latest, err = b.newJob(table); err != nil {
			return sample{}, err
		}
		return latest.copy(ctx)
	})}
	compared := &series{Name: "tool, verify --level full", measure: b.watched(func(ctx context.Context) (sample, error) {
		return latest.verify(ctx, "full", filled)
	})}
	p := &part{
		Name: "Verify, all payloads", Rows: b.rows, Bytes: b.bytes, Series: []*series{copied, compared},
		columns: perByte(),
	}
	say("Warming up the servers ...")
	if _, err := copied.measure(ctx); err != nil {
		return nil, err
	}
	if err := inRounds(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	ratio := compared.median(sample.megabytesPerSecond) / copied.median(sample.megabytesPerSecond)
	p.Verdicts = []verdict{
		atLeast("speed of verify --level full, of the copy's", ratio, 1),
		atMost("CPU s per GB, verify --level full", compared.median(sample.cpuPerGigabyte), wantedVerifyCPU),
	}
	return p, nil
}
