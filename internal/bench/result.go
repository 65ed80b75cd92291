package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// What is wanted of the tool.
const (
	wantedRatio     = 0.90 // of the slower ceiling
	wantedCPU       = 1.5  // seconds per GB of data, with --check quick
	wantedMebibytes = 200  // at the peak
	wantedGrowth    = 1.1  // of the peak, against that of one of ten days: the same but for noise
)

// quietSpread is how far apart the runs of one ceiling lie, highest to lowest,
// on a machine that does nothing else; beyond it the verdicts say little.
const quietSpread = 1.25

// result is what a run of the benchmark found.
type result struct {
	Type       string    `json:"type"` // "benchmark"
	OpenSearch string    `json:"opensearch"`
	Codec      string    `json:"codec"`
	Cores      int       `json:"cores"`
	Rows       int64     `json:"rows"`
	Bytes      int64     `json:"bytes"` // of data
	Days       int       `json:"days"`
	Readers    int       `json:"readers"`
	Senders    int       `json:"senders"`
	BatchBytes int       `json:"batch_bytes"`
	Series     []*series `json:"series"`
	Verdicts   []verdict `json:"verdicts"`
	Spread     float64   `json:"spread"` // of the replay's speed, highest to lowest

	copy, replay, quick, full, oneDay *series
}

// verdict compares a figure with what is wanted.
type verdict struct {
	Name   string  `json:"name"`
	Figure float64 `json:"figure"`
	Wanted string  `json:"wanted"`
	Pass   bool    `json:"pass"`
}

func newResult(b *bed) *result {
	return &result{
		Type: "benchmark", OpenSearch: b.api.Identity().Version, Codec: b.api.Backend().Codec, Cores: runtime.NumCPU(),
		Rows: b.rows, Bytes: b.bytes, Days: len(b.days), Readers: b.readers, Senders: b.senders, BatchBytes: migrate.DefaultBatchBytes,
	}
}

func (r *result) judge() {
	ceiling := min(r.copy.median(sample.megabytesPerSecond), r.replay.median(sample.megabytesPerSecond))
	ratio := r.quick.median(sample.megabytesPerSecond) / ceiling
	cpu := r.quick.median(sample.cpuPerGigabyte)
	peaks := r.quick.sorted(sample.peakMebibytes)
	peak := peaks[len(peaks)-1] // the highest, not the median: it has to fit every time
	growth := r.quick.median(sample.peakMebibytes) / r.oneDay.median(sample.peakMebibytes)
	speeds := r.replay.sorted(sample.megabytesPerSecond)
	r.Spread = speeds[len(speeds)-1] / speeds[0]
	r.Verdicts = []verdict{
		{"speed, of the slower ceiling", ratio, fmt.Sprintf(">= %.2f", wantedRatio), ratio >= wantedRatio},
		{"CPU s per GB, --check quick", cpu, fmt.Sprintf("<= %.1f", wantedCPU), cpu <= wantedCPU},
		{"peak memory in MiB", peak, fmt.Sprintf("<= %d", wantedMebibytes), peak <= wantedMebibytes},
		{"peak memory, times that of one day", growth, fmt.Sprintf("<= %.1f", wantedGrowth), growth <= wantedGrowth},
	}
}

func (r *result) writeJSON(w io.Writer) error {
	r.judge()
	return json.NewEncoder(w).Encode(r)
}

func (r *result) writeTable(w io.Writer) error {
	r.judge()
	fmt.Fprintf(w, "%d rows, %.0f MB of data in %d days; OpenSearch %s, codec %s; %d cores; %d readers, %d senders, batches of %d MiB; medians of %d (lowest to highest)\n\n",
		r.Rows, float64(r.Bytes)/1e6, r.Days, r.OpenSearch, r.Codec, r.Cores, r.Readers, r.Senders, r.BatchBytes>>20, len(r.copy.Samples))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "measurement\tMB/s\tCPU s per GB\tpeak MiB")
	for _, s := range r.Series {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name,
			s.text("%.1f", sample.megabytesPerSecond), s.text("%.2f", sample.cpuPerGigabyte), s.text("%.0f", sample.peakMebibytes))
	}
	fmt.Fprintln(t, "\t\t\t")
	fmt.Fprintln(t, "figure\tmeasured\twanted\t")
	for _, v := range r.Verdicts {
		fmt.Fprintf(t, "%s\t%.2f\t%s\t%s\n", v.Name, v.Figure, v.Wanted, passOrMiss(v))
	}
	if err := t.Flush(); err != nil || r.Spread <= quietSpread {
		return err
	}
	_, err := fmt.Fprintf(w, "\nThe machine was busy: the fastest replay had %.1f times the speed of the slowest. The verdicts say little; run it again.\n", r.Spread)
	return err
}

// text is the median and the range, or nothing where nothing was measured.
func (s *series) text(format string, figure func(sample) float64) string {
	figures := s.sorted(figure)
	lowest, highest := figures[0], figures[len(figures)-1]
	if highest == 0 {
		return "-"
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", s.median(figure), lowest, highest)
}

func passOrMiss(v verdict) string {
	if v.Pass {
		return "PASS"
	}
	return "MISS"
}
