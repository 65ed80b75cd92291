package main

import (
	"context"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
)

// wantedNodesPerSecond is how fast the ids are to be compared.
const wantedNodesPerSecond = 50_000

// measureIDs measures comparing the ids of a finished migration.
func (j *job) measureIDs(ctx context.Context, filled synth.Count, rounds int) (*part, error) {
	s := &series{Name: "tool, verify --level ids", measure: j.watched(func(ctx context.Context) (sample, error) {
		return j.verify(ctx, "ids", filled)
	})}
	p := &part{
		Name: "Verify, ids", Rows: filled.Rows, Bytes: filled.Bytes, Series: []*series{s},
		columns: []column{
			{"nodes/s", "%.0f", sample.nodesPerSecond},
			{"s", "%.2f", sample.seconds},
			{"CPU s", "%.2f", sample.cpuSeconds},
			{"OpenSearch", "%.2f", sample.openSearchSeconds},
			{"PostgreSQL", "%.2f", sample.postgresSeconds},
			{"peak MiB", "%.0f", sample.peakMebibytes},
		},
	}
	if err := inRounds(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{atLeast("nodes a second, verify --level ids", s.median(sample.nodesPerSecond), wantedNodesPerSecond)}
	return p, nil
}
