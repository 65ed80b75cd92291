package main

import (
	"context"
	"fmt"
	"slices"
)

// sample is one measurement.
type sample struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"` // of the tool, user and system
	PeakBytes  int64   `json:"peak_bytes,omitempty"`  // resident memory of the tool
	bytes      int64   // of data that went through
}

func (s sample) megabytesPerSecond() float64 { return float64(s.bytes) / 1e6 / s.Seconds }
func (s sample) cpuPerGigabyte() float64     { return s.CPUSeconds / (float64(s.bytes) / 1e9) }
func (s sample) peakMebibytes() float64      { return float64(s.PeakBytes) / (1 << 20) }

// series is what was measured of one thing in all rounds.
type series struct {
	Name    string   `json:"name"`
	Samples []sample `json:"samples"`
	measure func(context.Context) (sample, error)
}

// median of a figure of the samples; the upper one of an even number.
func (s *series) median(figure func(sample) float64) float64 {
	figures := s.sorted(figure)
	return figures[len(figures)/2]
}

func (s *series) sorted(figure func(sample) float64) []float64 {
	figures := make([]float64, len(s.Samples))
	for i, sample := range s.Samples {
		figures[i] = figure(sample)
	}
	slices.Sort(figures)
	return figures
}

// measure makes every measurement once in each round, so that what the machine
// does meanwhile falls on all of them. Every other round goes backwards: what
// comes first is not always the same.
func measure(ctx context.Context, b *bed, rounds int) (*result, error) {
	say("Making bulk bodies ...")
	ready, err := newReplay(ctx, b)
	if err != nil {
		return nil, err
	}
	newest := b.days[0]
	r := newResult(b)
	r.copy = &series{Name: "COPY to nowhere", measure: b.copyToNowhere}
	r.replay = &series{Name: "replay of ready-made bodies", measure: ready.run}
	r.quick = &series{Name: "tool, --check quick", measure: func(ctx context.Context) (sample, error) { return b.tool(ctx) }}
	r.full = &series{Name: "tool, --check full", measure: func(ctx context.Context) (sample, error) { return b.tool(ctx, "--check", "full") }}
	r.oneDay = &series{Name: "tool, one of the days", measure: func(ctx context.Context) (sample, error) {
		return b.tool(ctx, "--since", newest.String(), "--until", (newest + 1).String())
	}}
	r.Series = []*series{r.copy, r.replay, r.quick, r.full, r.oneDay}

	say("Warming up the servers ...")
	warmUp := &series{measure: ready.run}
	if err := b.take(ctx, warmUp); err != nil {
		return nil, err
	}
	order := slices.Clone(r.Series)
	for round := range rounds {
		for _, s := range order {
			say(fmt.Sprintf("Round %d of %d: %s ...", round+1, rounds, s.Name))
			if err := b.take(ctx, s); err != nil {
				return nil, err
			}
		}
		slices.Reverse(order)
	}
	return r, nil
}

// take adds one sample and leaves the cluster empty.
func (b *bed) take(ctx context.Context, s *series) error {
	sample, err := s.measure(ctx)
	if err != nil {
		return err
	}
	s.Samples = append(s.Samples, sample)
	return b.dropIndices(ctx)
}
