package rehearsal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// Report is what a rehearsal has found.
type Report struct {
	Share    float64  `json:"share"`  // that was asked for
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

	speeds []moment
	loaded map[string]int64 // by day, before it was compact
	days   map[string]*checkpoint.Day
}

// Verified is how all that was copied was compared with its rows.
type Verified struct {
	Nodes    int64                  `json:"nodes"`
	Findings int64                  `json:"findings"`
	ByClass  map[verify.Class]int64 `json:"findings_by_class"`
}

// Interval is an estimate, and between what it lies with the report's confidence. Low
// and High are absent where too little was seen to tell.
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

// conclude reckons what the whole table comes to.
func (r *Report) conclude(rejectedList string) error {
	r.Confidence = confidence
	var bytes, stored, loaded []float64
	rejected := make(map[node.Reason]map[string]float64) // by day
	if err := eachRejected(rejectedList, func(one migrate.Rejected) {
		if rejected[one.Reason] == nil {
			rejected[one.Reason] = make(map[string]float64)
		}
		rejected[one.Reason][one.Timestamp[:len("2006-01-02")]]++
	}); err != nil {
		return err
	}
	var names []string
	for name, d := range r.days {
		if d.Bytes == 0 {
			continue
		}
		names = append(names, name)
		bytes = append(bytes, float64(d.Bytes))
		stored, loaded = append(stored, float64(d.Stored)), append(loaded, float64(r.loaded[name]))
	}
	total := float64(r.Total.Bytes)
	r.CompactBytes, r.LoadedBytes = ratio(stored, bytes).times(total), ratio(loaded, bytes).times(total)
	r.BytesPerSecond = speed(r.speeds)
	r.Seconds = r.BytesPerSecond.divides(total)
	r.Rejected = make(map[node.Reason]Forecast)
	for reason, days := range rejected {
		counts, seen := make([]float64, len(names)), 0.0
		for i, name := range names {
			counts[i] = days[name]
			seen += days[name]
		}
		r.Rejected[reason] = Forecast{int64(seen), ratio(counts, bytes).times(total)}
	}
	return nil
}

// AtMost is how many nodes of the whole table can be of a kind that the sample has none
// of, if they are spread evenly.
func (r *Report) AtMost() int64 {
	share := 1 - math.Pow(1-confidence, 1/float64(max(r.Sample.Rows, 1)))
	return int64(math.Ceil(share * float64(r.Total.Rows)))
}

func eachRejected(path string, visit func(migrate.Rejected)) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the rehearsal's rejected nodes: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var one migrate.Rejected
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return fmt.Errorf("read the rehearsal's rejected nodes: %w", err)
		}
		visit(one)
	}
	return lines.Err()
}

// ratio estimates the sum of y for each of x, of days that were drawn: the ratio
// estimator of cluster sampling, with Student's distribution for its interval.
func ratio(y, x []float64) Interval {
	var sumX, sumY float64
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
	}
	if sumX == 0 {
		return Interval{}
	}
	estimate := sumY / sumX
	n := float64(len(x))
	if n < 2 {
		return Interval{Estimate: estimate}
	}
	var squares float64
	for i := range x {
		squares += math.Pow(y[i]-estimate*x[i], 2)
	}
	half := quantile(n-1) * math.Sqrt(n/(n-1)*squares) / sumX
	return between(estimate, half)
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

func (i Interval) times(factor float64) Interval {
	return i.each(func(x float64) float64 { return x * factor })
}

// divides is factor divided by the interval.
func (i Interval) divides(factor float64) Interval {
	of := i.each(func(x float64) float64 {
		if x == 0 {
			return math.MaxInt64
		}
		return factor / x
	})
	of.Low, of.High = of.High, of.Low
	return of
}

func (i Interval) each(of func(float64) float64) Interval {
	i.Estimate = of(i.Estimate)
	for _, end := range []**float64{&i.Low, &i.High} {
		if *end != nil {
			x := of(**end)
			*end = &x
		}
	}
	return i
}
