package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// reportSchema is the version of the JSON report; docs/schema/report.schema.json
// describes it.
const reportSchema = 1

// Report is all that a verification has to say. Its JSON is what the other
// forms are made from. It holds no payload and no password.
type Report struct {
	Type       string            `json:"type"` // "report"
	Schema     int               `json:"schema"`
	Verdict    Verdict           `json:"verdict"`
	Level      Level             `json:"level"`
	Complete   bool              `json:"complete"`   // all that the level is about is compared, by this run and those before
	Started    time.Time         `json:"started_at"` // when the first run of it began
	Finished   time.Time         `json:"finished_at"`
	Seconds    float64           `json:"seconds"`           // of this run
	Command    []string          `json:"command,omitempty"` // as it was given, without passwords
	Source     node.Origin       `json:"source"`
	Target     checkpoint.Target `json:"target"`
	Versions   map[string]string `json:"versions"`
	Settings   map[string]string `json:"settings"`
	Days       []Day             `json:"days"`
	Total      Day               `json:"total"`
	Storage    Storage           `json:"storage"`
	SizeLimits []int64           `json:"size_limits_bytes"` // upper ends of the size classes in bytes; the last has none
	Bound      *Bound            `json:"bound,omitempty"`   // of a random sample that was not used to repair
	Rejected   RejectedReport    `json:"rejected"`
	SwitchedAt string            `json:"switched_at,omitempty"`    // when Sentry began to write to the target
	MigratedTo string            `json:"migrated_until,omitempty"` // what the last migrate of all days that ended has copied
	Retired    RetiredReport     `json:"out_of_retention"`
	Lost       []LostDay         `json:"lost_days"`
	Newer      int64             `json:"fresh_rows"`       // rows that the migration's last pass did not know, and that have no document
	Borrowed   int               `json:"borrowed_indices"` // indices that still have settings for loading
	Earlier    int64             `json:"earlier_defects"`  // that samples before this one found
	Findings   FindingsReport    `json:"findings"`
	Repairs    map[string]int64  `json:"repairs,omitempty"` // what was done, by what it was
	NextSteps  []string          `json:"next_steps"`        // who calls sets them: what ends the doubts, by which command
	Throughput []Point           `json:"throughput"`
	Doubts     []Doubt           `json:"-"` // why it is not safe, for who sets the next steps
}

// Verdict is the result in a sentence.
type Verdict struct {
	Sentence   string   `json:"sentence"`
	SafeToDrop bool     `json:"safe_to_drop"`
	Because    []string `json:"because,omitempty"` // why it is not safe to drop the old table
}

// Storage is how the days that were compared lie on the target.
type Storage struct {
	Days         int      `json:"days"`                                 // with an index
	Compact      int      `json:"compact_days"`                         // that the migration has merged to one segment a shard
	Shards       int      `json:"shards"`                               // of all days
	Codecs       []string `json:"codecs"`                               // by name
	BytesPerByte float64  `json:"disk_bytes_per_source_byte,omitempty"` // where both are known
}

// Statement is for people.
func (s Storage) Statement() string {
	text := fmt.Sprintf("%d of %d days are compact, which is one segment a shard; they have %s, with %s", s.Compact, s.Days, amount.Of(int64(s.Shards), "shard"), strings.Join(s.Codecs, ", "))
	if s.BytesPerByte > 0 {
		text += fmt.Sprintf(", and take %.2f bytes on disk for each byte of payload", s.BytesPerByte)
	}
	return text + ". For each event Sentry asks every shard behind the alias: the fewer shards and segments, the sooner it has it."
}

// storage adds up how days are stored.
func storage(days []Day) (s Storage) {
	s.Codecs = []string{}
	var stored, payload int64
	for _, d := range days {
		if d.Shards == 0 {
			continue
		}
		s.Days++
		s.Shards += d.Shards
		if d.Compact {
			s.Compact++
		}
		if d.SourceBytes > 0 && d.TargetBytes > 0 {
			stored, payload = stored+d.TargetBytes, payload+d.SourceBytes
		}
		if !slices.Contains(s.Codecs, d.Codec) {
			s.Codecs = append(s.Codecs, d.Codec)
		}
	}
	slices.Sort(s.Codecs)
	if payload > 0 {
		s.BytesPerByte = float64(stored) / float64(payload)
	}
	return s
}

// RejectedReport counts the nodes that were not copied.
type RejectedReport struct {
	Total    int64                 `json:"nodes"`
	ByReason map[node.Reason]int64 `json:"by_reason"`
	Accepted []node.Reason         `json:"accepted_reasons"` // reasons that the operator accepts
	Open     int64                 `json:"open_nodes"`       // rejected for another reason
	File     string                `json:"file"`
}

// RetiredReport counts the rows that Sentry's cleanup would have removed, and that
// are not on the target.
type RetiredReport struct {
	Rows   int64 `json:"rows"`
	Days   int   `json:"days"`
	Open   int64 `json:"open_rows"`     // of these, rows that the recorded retention does not cover now
	GiveUp int64 `json:"accepted_rows"` // how many of those the operator accepts
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
	Counts   map[Class]int64 `json:"by_class"`
	Examples []Finding       `json:"examples"` // at most maxExamples of each class
	File     string          `json:"file"`     // all of them
}

// maxExamples is how many findings of a class a report shows.
const maxExamples = 10

// reporter makes a report of a comparison.
type reporter struct {
	*comparison
	result Report
}

// report puts together what is recorded, and concludes.
func (r *reporter) report(ctx context.Context) (*Report, error) {
	recorded, p := r.record.verify(), &r.result
	*p = Report{
		Type: "report", Schema: reportSchema, Level: r.Level, Complete: r.complete(), Started: recorded.Started,
		Finished: time.Now().UTC(), Days: []Day{}, Repairs: r.repairs, Earlier: recorded.Defects, NextSteps: []string{},
	}
	for _, limit := range sizeLimits() {
		p.SizeLimits = append(p.SizeLimits, limit)
	}
	r.record.View(func(s *checkpoint.State) {
		p.Source, p.Target, p.Borrowed = s.Binding.Source, s.Binding.Target, len(s.Borrowed)
		if done := s.CatchUp.Completed; done != nil && done.Whole {
			p.MigratedTo = isoTime(done.Until)
		}
	})
	if r.switchedAt != 0 {
		p.SwitchedAt = isoTime(r.switchedAt)
	}
	rows, err := r.sides.rows(ctx, r.horizon, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	p.Newer = max(rows-r.ahead.rows, 0)
	for _, name := range slices.Sorted(maps.Keys(r.record.days)) {
		p.Days = append(p.Days, *r.record.days[name])
		p.Total.add(r.record.days[name])
	}
	p.Storage = storage(p.Days)
	// A sample that was used to repair says nothing about other nodes.
	if r.Level == Sample && !recorded.Repaired {
		p.Bound = r.bound(p.Total.Sample)
	}
	r.versions()
	r.settings()
	r.apart()
	r.rejections()
	if err := r.findings(); err != nil {
		return nil, err
	}
	doubts := &doubts{reporter: r, recorded: recorded}
	if err := doubts.collect(ctx); err != nil {
		return nil, err
	}
	p.conclude()
	return p, nil
}

// apart counts the days that were not compared.
func (r *reporter) apart() {
	p, rows := &r.result, make(map[node.Day]int64)
	for _, d := range r.apartDays {
		rows[d.day] = d.rows
	}
	p.Lost, p.Retired.GiveUp = []LostDay{}, r.GiveUp
	for day, reason := range r.scope.apart {
		n := rows[day]
		switch {
		case day.End() <= r.from || day.Start() >= r.until:
			continue
		case reason == lost:
			p.Lost = append(p.Lost, LostDay{day.String(), r.target.Backend().IndexOf(day), n})
			continue
		case n == 0:
			continue
		case reason == expired:
			p.Retired.Open += n
		}
		p.Retired.Rows += n
		p.Retired.Days++
	}
	slices.SortFunc(p.Lost, func(a, b LostDay) int { return cmp.Compare(a.Day, b.Day) })
}

// bound counts of the sample only what a plain sample of its rate would have:
// strata are rounded up, and the nodes too many must not make it look better.
func (r *reporter) bound(sample Compared) *Bound {
	counted := sample.Nodes
	if sample.Nodes < sample.Population {
		counted = min(int64(r.rate*float64(sample.Population)), sample.Nodes)
	}
	b := NewBound(r.Confidence, sample.Population, counted, min(sample.Defects, counted))
	return &b
}

func (r *reporter) findings() error {
	p := &r.result
	p.Findings = FindingsReport{Counts: map[Class]int64{}, Examples: []Finding{}, File: r.Findings}
	p.Total.Findings = p.Findings.Counts
	days := make(map[string]*Day)
	for i := range p.Days {
		days[p.Days[i].Day] = &p.Days[i]
	}
	return r.record.findings.each(func(f Finding) error {
		p.Findings.Total++
		if p.Findings.Counts[f.Class]++; p.Findings.Counts[f.Class] <= maxExamples {
			p.Findings.Examples = append(p.Findings.Examples, f)
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

func (r *reporter) rejections() {
	p := RejectedReport{ByReason: map[node.Reason]int64{}, Accepted: append([]node.Reason{}, r.Accept...), File: r.RejectedList}
	for _, known := range r.rejected {
		p.Total++
		if p.ByReason[known.reason]++; !slices.Contains(p.Accepted, known.reason) {
			p.Open++
		}
	}
	r.result.Rejected = p
}

func (r *reporter) versions() {
	tool := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		tool = info.Main.Version
	}
	r.result.Versions = map[string]string{
		"nodestore-migrate": tool,
		"go":                runtime.Version(),
		"postgresql":        r.source.Relation().ServerText,
		"opensearch":        r.target.Identity().Version,
	}
}

// settings are what the result depends on.
func (r *reporter) settings() {
	settings := map[string]string{
		"level":        string(r.Level),
		"workers":      strconv.Itoa(r.Workers),
		"relation":     fmt.Sprintf("%s, %s column", r.source.Relation().Kind, r.source.Relation().Encoding),
		"copied_until": isoTime(r.horizon),
	}
	if r.Since != 0 {
		settings["since"] = r.Since.String()
	}
	if r.until < r.horizon {
		settings["until"] = r.Until.String()
	}
	if r.Level == Sample {
		settings["seed"] = strconv.FormatUint(r.Seed, 10)
		settings["confidence"] = amount.Percent(r.Confidence)
		settings["largest_share_of_defects"] = amount.Percent(r.MaxDefects)
		settings["rate_of_the_sample"] = amount.Percent(r.rate)
	}
	if r.Subset.Of != 0 {
		settings["subset"] = fmt.Sprintf("%d/%d", r.Subset.Part, r.Subset.Of)
	}
	r.result.Settings = settings
}
