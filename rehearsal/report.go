package rehearsal

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// Report is what a rehearsal has found.
type Report struct {
	Share    float64  `json:"share"`  // that was asked for
	Seed     uint64   `json:"seed"`   // draws the same again
	Total    Amount   `json:"total"`  // what is to be copied, estimated
	Sample   Amount   `json:"sample"` // what was copied
	Verified Verified `json:"verified"`
	// Confidence of each interval below.
	Confidence float64 `json:"confidence"`
	// The whole table, by the sample.
	BytesPerSecond Interval                 `json:"bytes_per_second"`
	Seconds        Interval                 `json:"seconds"`            // of the copy, without compaction
	LoadedBytes    Interval                 `json:"loaded_disk_bytes"`  // primary shards, before days are compact
	CompactBytes   Interval                 `json:"compact_disk_bytes"` // and after
	Rejected       map[node.Reason]Forecast `json:"rejected_by_reason"`
}

// Complete says whether the rehearsal came to its end.
func (r *Report) Complete() bool { return r.Confidence > 0 }

// Verified is how all that was copied was compared with its rows.
type Verified struct {
	Nodes    int64                  `json:"nodes"`
	Findings int64                  `json:"findings"`
	ByClass  map[verify.Class]int64 `json:"findings_by_class"`
}

// Interval is an estimate, and between what it lies with the report's confidence. An
// end is absent where too little was seen to tell.
type Interval struct {
	Estimate float64  `json:"estimate"`
	Low      *float64 `json:"low,omitempty"`
	High     *float64 `json:"high,omitempty"`
}

// Forecast is how many nodes of the whole table there are of a kind.
type Forecast struct {
	Seen int64 `json:"seen"` // in the sample
	Interval
}

// confidence of all intervals, two-sided.
const confidence = 0.95

// moment is how many bytes had been sent by then.
type moment struct {
	seconds float64
	bytes   int64
}

// outcome is what the copy of a sample came to; by day, in the order of the sample.
type outcome struct {
	speeds                []moment
	bytes, loaded, stored []float64 // of data; on disk; the same when compact
	rejected              map[node.Reason][]float64
}

// conclude reckons what the whole table comes to.
func (r *Report) conclude(drawn sample, o outcome) {
	r.Confidence = confidence
	bytes := drawn.whole(o.bytes, drawnDay.bySize)
	r.Total.Bytes = int64(bytes.Estimate + 0.5)
	r.LoadedBytes, r.CompactBytes = drawn.whole(o.loaded, drawnDay.bySize), drawn.whole(o.stored, drawnDay.bySize)
	r.BytesPerSecond = speed(o.speeds)
	r.Seconds = bytes.dividedBy(r.BytesPerSecond)
	r.Rejected = make(map[node.Reason]Forecast)
	for reason, counts := range o.rejected {
		seen := int64(floats.Sum(counts))
		r.Rejected[reason] = Forecast{seen, r.widened(drawn.whole(counts, drawnDay.byRows), seen)}
	}
}

// widened is an interval that is at least as wide as that of nodes which are rejected
// each on its own: what is rare comes in a day or two of the sample, whose differences
// say little. As many as were seen there are in any case.
func (r *Report) widened(i Interval, seen int64) Interval {
	rest, total := float64(max(r.Sample.Rows-seen, 0)), float64(max(r.Total.Rows, r.Sample.Rows))
	low := total * distuv.Beta{Alpha: float64(seen), Beta: rest + 1}.Quantile((1-confidence)/2)
	high := total
	if rest > 0 {
		high *= distuv.Beta{Alpha: float64(seen) + 1, Beta: rest}.Quantile(1 - (1-confidence)/2)
	}
	if i.Low != nil {
		low, high = min(low, *i.Low), max(high, *i.High)
	}
	low = min(max(low, float64(seen)), i.Estimate)
	high = max(high, i.Estimate)
	i.Low, i.High = &low, &high
	return i
}

// AtMost is how many nodes of the whole table can be of a kind that the sample has none
// of, if they are spread evenly.
func (r *Report) AtMost() int64 {
	share := 1 - math.Pow(1-confidence, 1/float64(max(r.Sample.Rows, 1)))
	return int64(math.Ceil(share * float64(r.Total.Rows)))
}

// whole estimates how much of something the table has, by how much of it there was in
// the slices of each day: of each of all days (the ratio estimator, as if the days were
// a sample of their like, which makes the interval rather too wide), or of those that
// were drawn with a probability in proportion to size (Hansen and Hurwitz). each is how many
// times as much a day stands for as its slices have.
func (s sample) whole(found []float64, each func(drawnDay) float64) Interval {
	units, weights := float64(s.hits), 0.0
	for _, d := range s.days {
		weights += s.weight(d)
	}
	parts := make([]float64, len(s.days))
	for i, d := range s.days {
		parts[i] = found[i] * each(d)
	}
	sum := floats.Sum(parts)
	if s.hits == 0 {
		units = float64(len(s.days))
	}
	if units < 2 {
		return Interval{Estimate: sum}
	}
	var squares float64
	for i, d := range s.days {
		squares += math.Pow(parts[i]-sum*s.weight(d)/weights, 2) / float64(max(d.hits, 1))
	}
	return between(sum, quantile(units-1)*math.Sqrt(units/(units-1)*squares))
}

// weight is what part of a sum is expected of a day, in proportion to others.
func (s sample) weight(d drawnDay) float64 {
	if s.hits == 0 {
		return d.stands()
	}
	return float64(d.hits)
}

// quantile is of Student's distribution with so many degrees of freedom.
func quantile(freedom float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(1 - (1-confidence)/2)
}

func between(estimate, half float64) Interval {
	low, high := max(estimate-half, 0), estimate+half
	return Interval{estimate, &low, &high}
}

// speedParts is how many parts of the time speeds are compared of.
const speedParts = 10

// speed is the bytes a second while there was something to send, with an interval by
// the means of equal parts of that time.
func speed(moments []moment) Interval {
	var last int64
	end := 0
	for i, m := range moments {
		if m.bytes > last {
			last, end = m.bytes, i
		}
	}
	if end == 0 || moments[end].seconds == 0 {
		return Interval{}
	}
	moments = moments[:end+1]
	took := moments[end].seconds
	estimate := float64(last) / took
	if len(moments) < 2*speedParts {
		return Interval{Estimate: estimate}
	}
	var squares float64
	before := moment{}
	for part := 1; part <= speedParts; part++ {
		at := moments[(len(moments)-1)*part/speedParts]
		mean := float64(at.bytes-before.bytes) / (at.seconds - before.seconds)
		squares += math.Pow(mean-estimate, 2)
		before = at
	}
	return between(estimate, quantile(speedParts-1)*math.Sqrt(squares/(speedParts-1)/speedParts))
}

// dividedBy has the ends that are farthest apart.
func (i Interval) dividedBy(by Interval) (of Interval) {
	if by.Estimate == 0 {
		return of
	}
	of.Estimate = i.Estimate / by.Estimate
	if by.Low == nil || by.High == nil {
		return of
	}
	low, high := i.Estimate / *by.High, i.Estimate
	if i.Low != nil {
		low, high = *i.Low / *by.High, *i.High
	}
	of.Low = &low
	if *by.Low > 0 {
		high /= *by.Low
		of.High = &high
	}
	return of
}
