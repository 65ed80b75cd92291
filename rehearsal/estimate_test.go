package rehearsal

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// table is made up: days of very different sizes, cut to slices.
type table struct {
	days   []source.DaySize // with estimates that are wrong
	slices [][]source.Slice
	disk   map[int64]float64
	bad    map[int64]float64
	sum    struct{ bytes, disk, bad float64 }
}

// newTable has nodes rejected with a probability, in all days alike, or all in a few.
func newTable(rng *rand.Rand, days int, rate float64, clustered bool) *table {
	t := &table{disk: make(map[int64]float64), bad: make(map[int64]float64)}
	for d := range days {
		var slices []source.Slice
		var size int64
		density := 0.6 + 0.2*rng.Float64()
		of := rate
		if clustered {
			of = 0
			if rng.IntN(4) == 0 {
				of = 4 * rate
			}
		}
		for i := range 2 + int(20*math.Exp(rng.NormFloat64())) {
			s := source.Slice{From: int64(d)<<32 + int64(i), Rows: 800 + rng.Int64N(400)}
			s.Bytes = s.Rows * (5000 + rng.Int64N(5000))
			t.disk[s.From] = float64(s.Bytes) * density * (0.9 + 0.2*rng.Float64())
			for range s.Rows {
				if rng.Float64() < of {
					t.bad[s.From]++
				}
			}
			t.sum.bytes, t.sum.disk, t.sum.bad = t.sum.bytes+float64(s.Bytes), t.sum.disk+t.disk[s.From], t.sum.bad+t.bad[s.From]
			slices, size = append(slices, s), size+s.Bytes
		}
		t.slices = append(t.slices, slices)
		t.days = append(t.days, source.DaySize{Day: node.Day(d), Bytes: int64(3 * float64(size) * (0.7 + 0.6*rng.Float64()))})
	}
	return t
}

// rehearse draws, and says of what was found what the table has of it.
func (t *table) rehearse(seed uint64, share float64) (r Report) {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := sample{of: len(t.days)}
	days, _ := drawDays(rng, t.days)
	var o outcome
	o.rejected = map[node.Reason][]float64{node.Pickle: nil}
	for _, d := range days {
		d.choose(rng, share*d.factor, t.slices[d.Day])
		s.hits, s.days = s.hits+d.hits, append(s.days, d)
		var bytes, disk, bad float64
		for _, one := range d.slices {
			bytes, disk, bad = bytes+float64(one.Bytes), disk+t.disk[one.From], bad+t.bad[one.From]
		}
		o.bytes, o.stored, o.loaded = append(o.bytes, bytes), append(o.stored, disk), append(o.loaded, disk)
		o.rejected[node.Pickle] = append(o.rejected[node.Pickle], bad)
	}
	r.Total, r.Sample = s.total(), s.drawn()
	r.conclude(s, o)
	return r
}

func (i Interval) holds(truth float64) bool {
	return i.Low != nil && *i.Low <= truth*(1+1e-9) && truth <= *i.High*(1+1e-9)
}

// TestIntervalsHoldTheTruth draws again and again: an interval with 95 % confidence
// misses the truth once in twenty times, and estimates are right on average.
func TestIntervalsHoldTheTruth(t *testing.T) {
	t.Parallel()
	const draws = 600
	for _, c := range []struct {
		name      string
		days      int
		share     float64
		rate      float64
		clustered bool
	}{
		{"all days", 12, 0.1, 0.01, false},
		{"all days, clustered", 40, 0.1, 0.01, true},
		{"drawn days", 120, 0.02, 0.01, false},
		{"drawn days, clustered", 120, 0.02, 0.01, true},
		{"rare", 30, 0.05, 0.0002, false},
	} {
		made := newTable(rand.New(rand.NewPCG(9, 9)), c.days, c.rate, c.clustered)
		var disk, bad, size, sizes, diskMean, badMean float64
		for seed := range uint64(draws) {
			r := made.rehearse(seed, c.share)
			f := r.Rejected[node.Pickle]
			if r.CompactBytes.holds(made.sum.disk) {
				disk++
			}
			if f.Interval.holds(made.sum.bad) {
				bad++
			}
			size += float64(r.Sample.Bytes) / made.sum.bytes
			sizes += float64(r.Total.Bytes) / made.sum.bytes
			diskMean, badMean = diskMean+r.CompactBytes.Estimate/made.sum.disk, badMean+f.Estimate/made.sum.bad
		}
		t.Logf("%s: disk held %.3f, mean %.3f; rejected held %.3f, mean %.3f (%.0f); sample %.4f, table %.3f",
			c.name, disk/draws, diskMean/draws, bad/draws, badMean/draws, made.sum.bad, size/draws, sizes/draws)
		if disk < 0.92*draws || bad < 0.92*draws {
			t.Errorf("%s: intervals hold the truth in %.0f and %.0f of %d draws", c.name, disk, bad, draws)
		}
		for _, mean := range []float64{diskMean, badMean, sizes} {
			if math.Abs(mean/draws-1) > 0.04 {
				t.Errorf("%s: on average an estimate is %.3f of the truth", c.name, mean/draws)
			}
		}
	}
}
