package verify

import (
	"context"
	"math"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// run is what every part of a run works with. Its terms, which are options, scope
// and sample, are the same from beginning to end; only indices are listed again
// after a repair.
type run struct {
	Options
	*sides
	*scope
	rejected rejections
	record   *record
	meter    *meter
	rate     float64 // share of the nodes that are drawn
	seed     uint64  // of the draw
}

// complete says whether all payloads are compared that the level is about.
func (r *run) complete() bool {
	if r.Level != Full {
		return true
	}
	for _, d := range r.days {
		if !r.record.payloads(d.day.String()).Contains(checkpoint.Range{From: d.from, To: d.to}) {
			return false
		}
	}
	return true
}

// missingParts returns what is not compared yet of the payloads of a day, or of
// the subset's hours of it, in parts. What is recorded is left out to the
// microsecond: the cuts of the run before may have been others.
func (r *run) missingParts(d scopeDay) (parts []checkpoint.Range) {
	done := r.record.payloads(d.day.String())
	wanted := []checkpoint.Range{{From: d.from, To: d.to}}
	if r.Subset.Of != 0 {
		wanted = r.Subset.hours(d)
	}
	for _, w := range wanted {
		for _, missing := range done.Missing(w.From, w.To) {
			parts = append(parts, d.cut(missing, r.rowsAtOnce(d), math.MaxInt64)...)
		}
	}
	return parts
}

const (
	hour = int64(3600e6)
	// rowsPerPart is how many rows one reading of payloads takes at most, if
	// they are spread evenly: some seconds, and what a crash costs.
	rowsPerPart = 10_000
)

// rowsAtOnce is how many rows of a day are read by one reading: fewer where the gate
// would make it last longer than one waits in its middle.
func (r *run) rowsAtOnce(d scopeDay) int64 {
	day := r.record.days[d.day.String()]
	if r.BytesPerSecond == 0 || day == nil || day.SourceBytes == 0 {
		return rowsPerPart
	}
	bytes := r.BytesPerSecond * maxHeld.Seconds() / float64(r.Workers)
	return min(max(int64(bytes*float64(day.Source)/float64(day.SourceBytes)), 1), rowsPerPart)
}

// hours returns the hours of a day that belong to the subset.
func (s Subset) hours(d scopeDay) (hours []checkpoint.Range) {
	for start := d.day.Start(); start < d.day.End(); start += hour {
		r := checkpoint.Range{From: max(start, d.from), To: min(start+hour, d.to)}
		if int(modulo(start/hour, int64(s.Of))) == s.Part-1 && r.From < r.To {
			hours = append(hours, r)
		}
	}
	return hours
}

// comparisons is about how many ids and payloads are left to this run.
func (r *run) comparisons() (n int64) {
	for _, d := range r.days {
		rows := float64(d.rows)
		if r.Level == Counts || r.record.days[d.day.String()] == nil {
			n += d.rows
			if r.Level == Sample {
				n += int64(rows * r.rate)
			}
		}
		if r.Level == Full {
			for _, part := range r.missingParts(d) {
				n += int64(rows * float64(part.To-part.From) / float64(d.to-d.from))
			}
		}
	}
	return n
}

// emptyDay is a day of which nothing is counted yet.
func (r *run) emptyDay(d scopeDay) Day {
	index := r.target.Backend().IndexOf(d.day)
	holding := r.indices[index]
	day := Day{Day: d.day.String(), Index: index, Ours: r.ours(holding), TargetBytes: holding.Bytes, All: r.record.kept[d.day.String()]}
	if index := holding.Index; index.Name != "" {
		day.Codec, day.Shards = index.Codec(), index.Shards()
		r.record.View(func(s *checkpoint.State) {
			recorded := s.Days[day.Day]
			if recorded == nil || recorded.UUID != index.UUID {
				return
			}
			day.Compact = !recorded.Compact.IsZero()
			if of := recorded.Digest; of != nil && of.Nodes > 0 && of.Nodes == recorded.Fates[node.Stored]+recorded.Fates[node.AlreadyThere] {
				copied := *of
				day.Copied = &copied
			}
		})
	}
	if print, behind := r.prints[index]; behind {
		day.Print = &print
	}
	return day
}

// certainLimit is how many nodes of a day the certainty strata may hold, but for
// the ends of slices.
func (r *run) certainLimit(d scopeDay) int {
	if len(r.sentAgain[d.day]) == 0 {
		return maxCertain
	}
	return maxCertain + int(min(maxResent, d.rows))
}

// newStrata returns strata for a day, or a part of it. A size class keeps as many
// nodes as may be drawn of it, with those that turn out to belong to a certainty
// stratum.
func (r *run) newStrata(d scopeDay) *strata {
	limit := 0
	if r.Level == Sample {
		limit = int(quota(r.rate, d.rows+keysPerPart)) + r.certainLimit(d) + 2*maxParts
	}
	return newStrata(d.day, r.certain, r.sentAgain[d.day], limit)
}

// entries reads the rows of a time without their payloads, in parts where that
// cannot be done at once, and returns how many microseconds have rows of which
// not even that much can be read. Those that the migration did not list are a
// finding. begin is called before each reading.
func (r *run) entries(ctx context.Context, time checkpoint.Range, begin func(), visit func(source.Entry) error) (bad int, err error) {
	err = r.ask(ctx, func() error { begin(); return r.source.Entries(ctx, time.From, time.To, visit) })
	if !source.Damaged(err) && !source.TooLong(err) {
		return 0, err
	}
	err = r.ask(ctx, func() error {
		begin()
		bad = 0
		return r.source.EntriesApart(ctx, source.Slice{From: time.From, To: time.To}, visit, func(b source.Bad) error {
			bad++
			if r.rejected.has(nil, b.Micros) {
				return visit(source.Entry{Micros: b.Micros})
			}
			day := node.DayOf(b.Micros).String()
			return r.record.findings.add(day, Finding{Class: Uncompared, Day: day, Known: "PostgreSQL cannot read rows, such as of " + isoTime(b.Micros) + ": " + b.Why})
		})
	})
	return bad, err
}
