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
const reportSchema = 2

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
	Bound      *Bound            `json:"bound,omitempty"` // of a random sample that was not used to repair
	Rejected   RejectedReport    `json:"rejected"`
	SwitchedAt string            `json:"switched_at,omitempty"`    // when Sentry began to write to the target
	MigratedTo string            `json:"migrated_until,omitempty"` // what the last migrate of all days that ended has copied
	Retired    RetiredReport     `json:"out_of_retention"`
	Lost       []LostDay         `json:"lost_days"`
	Fresh      int64             `json:"fresh"`           // rows that the migration's last pass did not know, and that have no document
	Borrowed   int               `json:"borrowed"`        // indices that still have settings for loading
	Earlier    int64             `json:"earlier_defects"` // that samples before this one found
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

// RetiredReport counts the rows that Sentry's cleanup would have removed, and that
// are not on the target.
type RetiredReport struct {
	Rows   int64 `json:"rows"`
	Days   int   `json:"days"`
	Open   int64 `json:"open"`     // of these, rows that the recorded retention does not cover now
	GiveUp int64 `json:"accepted"` // how many of those the operator accepts
}

// LostDay is a day whose index is gone, with rows that no retention covers.
type LostDay struct {
	Day   string `json:"day"`
	Index string `json:"index"`
	Rows  int64  `json:"rows"`
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
		SizeLimits: slices.Collect(sizeLimitSeq), Throughput: v.meter.taken(), Repairs: v.repairs,
		Versions: v.versions(), Settings: v.settings(), Lost: []LostDay{},
	}
	v.Checkpoint.View(func(s *checkpoint.State) {
		r.Started, r.Source, r.Target, r.Borrowed = s.Verify.Started, s.Binding.Source, s.Binding.Target, len(s.Borrowed)
		r.Earlier = s.Verify.Defects
		if at := s.CatchUp.SwitchedAt; at != 0 {
			r.SwitchedAt = isoTime(at)
		}
		if c := s.CatchUp.Completed; c != nil && c.Whole {
			r.MigratedTo = isoTime(c.Until)
		}
	})
	v.reportApart(r)
	var ahead int64
	err := v.again(ctx, func() (err error) { ahead, err = v.Source.Count(ctx, v.horizon(), math.MaxInt64); return err })
	if err != nil {
		return nil, err
	}
	r.Fresh = max(ahead-v.ahead.rows, 0)
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
	if v.options.Level == Sample && !v.repaired() {
		r.Bound = v.bound(r.Total.Sample)
	}
	doubts, err := v.doubts(ctx, r)
	if err != nil {
		return nil, err
	}
	r.conclude(doubts)
	return r, nil
}

// reportApart counts the days that were not compared.
func (v *Verification) reportApart(r *Report) {
	rows := make(map[node.Day]int64)
	for _, d := range v.scope.apartDays {
		rows[d.day] = d.rows
	}
	for day, reason := range v.scope.apart {
		if !v.inScope(day) {
			continue
		}
		n := rows[day]
		if reason == lost {
			r.Lost = append(r.Lost, LostDay{day.String(), v.Target.Backend().IndexOf(day), n})
			continue
		}
		if n == 0 {
			continue
		}
		r.Retired.Rows += n
		r.Retired.Days++
		if reason == expired {
			r.Retired.Open += n
		}
	}
	r.Retired.GiveUp = v.options.GiveUp
	slices.SortFunc(r.Lost, func(a, b LostDay) int { return cmp.Compare(a.Day, b.Day) })
}

// repaired says whether this run, or an interrupted part of it, has repaired. Its
// sample says nothing about other nodes then.
func (v *Verification) repaired() (repaired bool) {
	v.Checkpoint.View(func(s *checkpoint.State) { repaired = s.Verify.Repaired })
	return repaired
}

func (v *Verification) inScope(day node.Day) bool {
	return day.End() > v.scope.from && day.Start() < v.scope.until
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
