package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// sample is one measurement.
type sample struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"` // of the tool or a bare client, user and system
	PeakBytes  int64   `json:"peak_bytes,omitempty"`  // resident memory of the tool

	// Of one event, where events are read one by one.
	MedianSeconds float64 `json:"median_seconds,omitempty"`
	P99Seconds    float64 `json:"p99_seconds,omitempty"`
	Segments      float64 `json:"segments_a_day,omitempty"`

	// CPU of the servers meanwhile, where they were started here.
	PostgresCPU   float64 `json:"postgresql_cpu_seconds,omitempty"`
	OpenSearchCPU float64 `json:"opensearch_cpu_seconds,omitempty"`
	SinkCPU       float64 `json:"sink_cpu_seconds,omitempty"` // of the benchmark while it is the sink

	CheckpointBytes int64 `json:"checkpoint_bytes,omitempty"` // at the end, of a copy that was ended

	Requests  int64 `json:"requests,omitempty"`   // to OpenSearch, where they were counted
	SentBytes int64 `json:"sent_bytes,omitempty"` // bodies of these requests
	bytes     int64 // of data that went through
	nodes     int64 // that went through
}

func (s sample) megabytesPerSecond() float64    { return float64(s.bytes) / 1e6 / s.Seconds }
func (s sample) nodesPerSecond() float64        { return float64(s.nodes) / s.Seconds }
func (s sample) cpuPerGigabyte() float64        { return s.CPUSeconds / (float64(s.bytes) / 1e9) }
func (s sample) postgresPerGigabyte() float64   { return s.PostgresCPU / (float64(s.bytes) / 1e9) }
func (s sample) openSearchPerGigabyte() float64 { return s.OpenSearchCPU / (float64(s.bytes) / 1e9) }
func (s sample) sinkPerGigabyte() float64       { return s.SinkCPU / (float64(s.bytes) / 1e9) }
func (s sample) peakMebibytes() float64         { return float64(s.PeakBytes) / (1 << 20) }
func (s sample) checkpointKilobytes() float64   { return float64(s.CheckpointBytes) / 1e3 }
func (s sample) seconds() float64               { return s.Seconds }
func (s sample) cpuSeconds() float64            { return s.CPUSeconds }
func (s sample) postgresSeconds() float64       { return s.PostgresCPU }
func (s sample) openSearchSeconds() float64     { return s.OpenSearchCPU }
func (s sample) requests() float64              { return float64(s.Requests) }
func (s sample) sentKilobytes() float64         { return float64(s.SentBytes) / 1e3 }

// inProcess measures what work costs that this process does itself.
func inProcess(work func() error) (sample, error) {
	var before, after syscall.Rusage
	started := time.Now()
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	if err == nil {
		err = work()
	}
	if err == nil {
		err = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	}
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	return sample{Seconds: time.Since(started).Seconds(), CPUSeconds: time.Duration(cpu).Seconds()}, err
}

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

// spread is how far the speeds lie apart, highest to lowest.
func (s *series) spread() float64 {
	speeds := s.sorted(sample.megabytesPerSecond)
	return speeds[len(speeds)-1] / speeds[0]
}

// take adds one sample.
func (s *series) take(ctx context.Context) error {
	sample, err := s.measure(ctx)
	if err != nil {
		return fmt.Errorf("measure %s: %w", s.Name, err)
	}
	s.Samples = append(s.Samples, sample)
	return nil
}

// inRounds makes every measurement once in each round, so that what the machine
// does meanwhile falls on all of them.
func inRounds(ctx context.Context, rounds int, list []*series) error {
	for round := range rounds {
		if err := takeEach(ctx, fmt.Sprintf("Round %d of %d", round+1, rounds), list); err != nil {
			return err
		}
	}
	return nil
}

// backAndForth is inRounds with every other round backwards, for what may come in any
// order: what comes first is not always the same.
func backAndForth(ctx context.Context, rounds int, list []*series) error {
	order := slices.Clone(list)
	for round := range rounds {
		if err := takeEach(ctx, fmt.Sprintf("Round %d of %d", round+1, rounds), order); err != nil {
			return err
		}
		slices.Reverse(order)
	}
	return nil
}

func takeEach(ctx context.Context, round string, list []*series) error {
	for _, s := range list {
		say(round + ": " + s.Name + " ...")
		if err := s.take(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fresh has something measured from an empty cluster on.
func (b *bed) fresh(measure func(context.Context) (sample, error)) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		if err := b.dropIndices(ctx); err != nil {
			return sample{}, err
		}
		return b.watched(measure)(ctx)
	}
}

// measure makes the parts that are wanted.
func (r *result) measure(ctx context.Context, b *bed, o options) error {
	if o.wants(copyPart) {
		c, err := b.measureCopy(ctx, o.rounds)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, c)
	}
	if o.wants(verifyPart) {
		full, err := b.measureFull(ctx, o.rounds)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, full)
	}
	if o.wants(readingPart) {
		reading, err := b.measureReading(ctx, o.rounds)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, reading)
	}
	if o.wants(costPart) {
		costs, err := b.measureCost(ctx, o.rounds)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, costs...)
	}
	if o.wants(scalePart) {
		scale, err := b.measureScale(ctx, o)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, scale)
	}
	if o.wants(memoryPart) {
		m, err := b.measureMemory(ctx, o)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, m)
	}
	if !o.wants(verifyPart) && !o.wants(catchUpPart) {
		return nil
	}
	small, err := b.measureSmallRows(ctx, o)
	r.Parts = append(r.Parts, small...)
	return err
}
