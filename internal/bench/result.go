package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// quietSpread is how far apart the runs of one ceiling lie, highest to lowest,
// on a machine that does nothing else; beyond it the verdicts say little.
const quietSpread = 1.25

// result is what a run of the benchmark found.
type result struct {
	Type       string  `json:"type"` // "benchmark"
	OpenSearch string  `json:"opensearch"`
	Codec      string  `json:"codec"`
	Cores      int     `json:"cores"`
	Days       int     `json:"days"`
	Rounds     int     `json:"rounds"`
	Readers    int     `json:"readers"`
	Senders    int     `json:"senders"`
	BatchBytes int     `json:"batch_bytes"`
	Parts      []*part `json:"parts"`
}

// part is what was measured with one set of rows.
type part struct {
	Name     string    `json:"part"`
	Rows     int64     `json:"rows"`
	Bytes    int64     `json:"bytes"`          // of data
	Days     int       `json:"days,omitempty"` // where not those of the table
	Series   []*series `json:"series"`
	Verdicts []verdict `json:"verdicts"`
	Spread   float64   `json:"spread,omitempty"`  // of the replay's speed, highest to lowest
	Skipped  string    `json:"skipped,omitempty"` // why it was not measured

	columns []column // of its table
}

// column is a figure of each sample.
type column struct {
	name, format string
	figure       func(sample) float64
}

// perByte are the columns of what goes through all data.
func perByte() []column {
	return []column{
		{"MB/s", "%.1f", sample.megabytesPerSecond},
		{"CPU s per GB", "%.2f", sample.cpuPerGigabyte},
		{"OpenSearch", "%.1f", sample.openSearchPerGigabyte},
		{"PostgreSQL", "%.2f", sample.postgresPerGigabyte},
		{"peak MiB", "%.0f", sample.peakMebibytes},
	}
}

// verdict compares a figure with what is wanted.
type verdict struct {
	Name   string  `json:"name"`
	Figure float64 `json:"figure"`
	Wanted string  `json:"wanted"`
	Pass   bool    `json:"pass"`
}

func atLeast(name string, figure, least float64) verdict {
	return verdict{name, figure, ">= " + strconv.FormatFloat(least, 'f', -1, 64), figure >= least}
}

func atMost(name string, figure, most float64) verdict {
	return verdict{name, figure, "<= " + strconv.FormatFloat(most, 'f', -1, 64), figure <= most}
}

func newResult(b *bed, o options) *result {
	return &result{
		Type: "benchmark", OpenSearch: b.api.Identity().Version, Codec: b.api.Backend().Codec, Cores: runtime.NumCPU(),
		Days: len(b.days), Rounds: o.rounds, Readers: b.readers, Senders: b.senders, BatchBytes: migrate.DefaultBatchBytes,
	}
}

func (r *result) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

func (r *result) writeTable(w io.Writer) error {
	_, err := fmt.Fprintf(w, "OpenSearch %s, codec %s; %d cores; %d readers, %d senders, batches of %d MiB; medians of %d (lowest to highest)\n",
		r.OpenSearch, r.Codec, r.Cores, r.Readers, r.Senders, r.BatchBytes>>20, r.Rounds)
	if err != nil {
		return err
	}
	for _, p := range r.Parts {
		if p.Skipped != "" {
			fmt.Fprintf(w, "\n%s: not measured: %s\n", p.Name, strings.Join(strings.Fields(p.Skipped), " "))
			continue
		}
		fmt.Fprintf(w, "\n%s: %d rows, %.0f MB of data in %d days\n\n", p.Name, p.Rows, float64(p.Bytes)/1e6, cmp.Or(p.Days, r.Days))
		if err := p.writeTable(w); err != nil {
			return err
		}
	}
	return nil
}

func (p *part) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "measurement")
	for _, c := range p.columns {
		fmt.Fprint(t, "\t", c.name)
	}
	for _, s := range p.Series {
		fmt.Fprint(t, "\n", s.Name)
		for _, c := range p.columns {
			fmt.Fprint(t, "\t", s.text(c))
		}
	}
	if err := flush(t); err != nil {
		return err
	}
	fmt.Fprint(t, "figure\tmeasured\twanted\t")
	for _, v := range p.Verdicts {
		fmt.Fprintf(t, "\n%s\t%.2f\t%s\t%s", v.Name, v.Figure, v.Wanted, passOrMiss(v))
	}
	if err := flush(t); err != nil || p.Spread <= quietSpread {
		return err
	}
	_, err := fmt.Fprintf(w, "The machine was busy: the fastest replay had %.1f times the speed of the slowest. The verdicts say little; run it again.\n", p.Spread)
	return err
}

// flush ends a table with an empty line: columns are as wide as each table wants.
func flush(t *tabwriter.Writer) error {
	fmt.Fprint(t, "\n\n")
	return t.Flush()
}

// text is the median and the range, or nothing where nothing was measured.
func (s *series) text(c column) string {
	figures := s.sorted(c.figure)
	lowest, highest := figures[0], figures[len(figures)-1]
	if highest == 0 {
		return "-"
	}
	return fmt.Sprintf(c.format+" ("+c.format+" to "+c.format+")", s.median(c.figure), lowest, highest)
}

func passOrMiss(v verdict) string {
	if v.Pass {
		return "PASS"
	}
	return "MISS"
}
