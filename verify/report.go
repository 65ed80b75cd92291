package verify

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// reportSchema is the version of the JSON report; docs/report.schema.json
// describes it.
const reportSchema = 1

// Report is all that a verification has to say. Its JSON is what the other
// forms are made from. It holds no payload and no password.
type Report struct {
	Type       string            `json:"type"` // "report"
	Schema     int               `json:"schema"`
	Verdict    Verdict           `json:"verdict"`
	Level      Level             `json:"level"`
	Complete   bool              `json:"complete"` // all that the level is about is compared, by this run and those before
	Started    time.Time         `json:"started"`  // when the first run of it began
	Finished   time.Time         `json:"finished"`
	Seconds    float64           `json:"seconds"`           // of this run
	Command    []string          `json:"command,omitempty"` // as it was given, without passwords
	Source     checkpoint.Source `json:"source"`
	Target     checkpoint.Target `json:"target"`
	Versions   map[string]string `json:"versions"`
	Settings   map[string]string `json:"settings"`
	Days       []Day             `json:"days"`
	Total      Day               `json:"total"`
	SizeLimits []int64           `json:"size_limits"`     // upper ends of the size classes in bytes; the last has none
	Bound      *Bound            `json:"bound,omitempty"` // of a random sample
	Rejected   RejectedReport    `json:"rejected"`
	Retired    int64             `json:"out_of_retention"` // rows of days that were not copied
	Fresh      int64             `json:"fresh"`            // rows that came after the migration's last pass
	Borrowed   int               `json:"borrowed"`         // indices that still have settings for loading
	Findings   FindingsReport    `json:"findings"`
	Repairs    map[string]int64  `json:"repairs,omitempty"` // what was done, by what it was
	NextSteps  []string          `json:"next_steps"`
	Throughput []Point           `json:"throughput"`
}

// Verdict is the result in a sentence.
type Verdict struct {
	Sentence   string   `json:"sentence"`
	SafeToDrop bool     `json:"safe_to_drop"`
	Because    []string `json:"because,omitempty"` // why it is not safe to drop the old table
}

// RejectedReport counts the nodes that were not copied.
type RejectedReport struct {
	Total    int64                 `json:"total"`
	ByReason map[node.Reason]int64 `json:"by_reason"`
	Accepted []node.Reason         `json:"accepted"` // reasons that the operator accepts
	Open     int64                 `json:"open"`     // rejected for another reason
	File     string                `json:"file"`
}

// FindingsReport counts what was found.
type FindingsReport struct {
	Total    int64           `json:"total"`
	Counts   map[Class]int64 `json:"counts"`
	Examples []Finding       `json:"examples"` // at most maxExamples of each class
	File     string          `json:"file"`     // all of them
}

// maxExamples is how many findings of a class a report shows.
const maxExamples = 10

// report puts together what is recorded.
func (v *Verification) report(ctx context.Context) (*Report, error) {
	r := &Report{
		Type: "report", Schema: reportSchema, Level: v.options.Level, Complete: v.complete(),
		Finished: time.Now().UTC(), Seconds: time.Since(v.started).Seconds(),
		SizeLimits: slices.Collect(sizeLimitSeq), Retired: v.scope.retiredRows, Throughput: v.meter.taken(), Repairs: v.repairs,
		Versions: v.versions(), Settings: v.settings(),
	}
	v.Checkpoint.View(func(s *checkpoint.State) {
		r.Started, r.Source, r.Target, r.Borrowed = s.Verify.Started, s.Binding.Source, s.Binding.Target, len(s.Borrowed)
	})
	err := v.again(ctx, func() (err error) { r.Fresh, err = v.Source.Count(ctx, v.horizon(), math.MaxInt64); return err })
	if err != nil {
		return nil, err
	}
	if r.Days, err = v.results(); err != nil {
		return nil, err
	}
	if err := v.reportFindings(r); err != nil {
		return nil, err
	}
	slices.SortFunc(r.Days, func(a, b Day) int { return cmp.Compare(a.Day, b.Day) })
	for i := range r.Days {
		r.Total.add(&r.Days[i])
	}
	r.Total.Findings = r.Findings.Counts
	r.Rejected = v.reportRejected()
	if v.options.Level == Sample {
		r.Bound = v.bound(r.Total.Sample)
	}
	r.Verdict = r.judge(v.wholeScope())
	r.NextSteps = r.nextSteps()
	return r, nil
}

func sizeLimitSeq(yield func(int64) bool) {
	for _, limit := range sizeLimits() {
		if !yield(limit) {
			return
		}
	}
}

// wholeScope says whether all days were asked for.
func (v *Verification) wholeScope() bool {
	return v.options.Since == 0 && v.options.Until == math.MaxInt32
}

// bound counts of the sample only what a plain sample of its rate would have:
// strata are rounded up, and the nodes too many must not make it look better.
func (v *Verification) bound(sample Compared) *Bound {
	counted := sample.Nodes
	if sample.Nodes < sample.Population {
		counted = min(int64(v.rate()*float64(sample.Population)), sample.Nodes)
	}
	b := NewBound(v.options.Confidence, sample.Population, counted, min(sample.Defects, counted))
	return &b
}

func (v *Verification) reportFindings(r *Report) error {
	r.Findings = FindingsReport{Counts: map[Class]int64{}, Examples: []Finding{}, File: v.options.Findings}
	days := make(map[string]*Day)
	for i := range r.Days {
		days[r.Days[i].Day] = &r.Days[i]
	}
	return v.findings.each(func(f Finding) error {
		r.Findings.Total++
		if r.Findings.Counts[f.Class]++; r.Findings.Counts[f.Class] <= maxExamples {
			r.Findings.Examples = append(r.Findings.Examples, f)
		}
		if d := days[f.Day]; d != nil {
			if d.Findings == nil {
				d.Findings = map[Class]int64{}
			}
			d.Findings[f.Class]++
		}
		return nil
	})
}

func (v *Verification) reportRejected() RejectedReport {
	r := RejectedReport{ByReason: v.rejected.byReason(), Accepted: v.options.Accept, File: v.options.RejectedList}
	for reason, n := range r.ByReason {
		r.Total += n
		if !slices.Contains(r.Accepted, reason) {
			r.Open += n
		}
	}
	return r
}
