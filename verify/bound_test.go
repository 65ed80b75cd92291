package verify

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestBoundExamples(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                        string
		population, sample, defects int64
		method                      Method
		nodes                       int64
	}{
		// 1-0.05^(1/100000) of the population.
		{"the issue's example", 198_412_003, 100_000, 0, ClopperPearson, 5_944},
		// The share at which the binomial tail, summed by itself, is 0.05: 0.00077518138.
		{"three found", 10_000_000, 10_000, 3, ClopperPearson, 7_752},
		{"all", 500, 500, 0, Complete, 0},
		{"all, and two", 500, 500, 2, Complete, 2},
		{"none", 0, 0, 0, Complete, 0},
		// Two unseen defects of four nodes would be missed by half of them in one
		// case of six, but by two strata of two in one of four.
		{"nearly all", 1_000, 999, 0, Hypergeometric, 1},
		{"nine of ten", 1_000, 900, 0, Hypergeometric, 2},
		{"half", 1_000_000, 500_000, 0, Hypergeometric, 5},
		{"everything defective", 1_000, 600, 600, Hypergeometric, 1_001},
	}
	for _, test := range tests {
		b := NewBound(0.95, test.population, test.sample, test.defects)
		if b.Method != test.method || b.Nodes != test.nodes {
			t.Errorf("%s: %+v; want method %s, %d nodes", test.name, b, test.method, test.nodes)
		}
	}
}

func TestSampleSizeReachesItsBound(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0.00003, 0.001, 0.05} {
		for _, confidence := range []float64{0.9, 0.95, 0.999} {
			n := sampleSize(confidence, share)
			if got := clopperPearson(confidence, n, 0); got > share {
				t.Errorf("%v %v: %d nodes give %v", confidence, share, n, got)
			}
			if got := clopperPearson(confidence, n-1, 0); got <= share {
				t.Errorf("%v %v: %d nodes would do", confidence, share, n-1)
			}
		}
	}
}

// TestBoundCoverage draws stratified samples as the verification does, from
// populations whose defects are known, and counts how often the bound holds.
func TestBoundCoverage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		strata    []int64
		defective []int64
		rate      float64
	}{
		{"one stratum", []int64{4_000}, []int64{80}, 0.03},
		{"even strata", []int64{1_000, 1_000, 1_000}, []int64{10, 30, 0}, 0.04},
		{"uneven strata", []int64{5_000, 40, 3}, []int64{0, 20, 3}, 0.02},
		{"large part", []int64{500, 300}, []int64{3, 2}, 0.5},
		{"large part of tiny strata", []int64{2, 2, 2, 2, 2, 2, 2, 2}, []int64{1, 1, 1, 1, 0, 0, 0, 0}, 0.5},
		{"rare", []int64{20_000}, []int64{2}, 0.04},
	}
	const confidence, rounds = 0.95, 4_000
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(5, 5))
			var population, defective int64
			for i := range test.strata {
				population += test.strata[i]
				defective += test.defective[i]
			}
			held := 0
			for range rounds {
				found := int64(0)
				for i, size := range test.strata {
					found += drawStratum(rng, size, test.defective[i], quota(test.rate, size))
				}
				sample := min(int64(test.rate*float64(population)), population)
				if b := NewBound(confidence, population, sample, min(found, sample)); b.Nodes > defective || b.Nodes == defective && b.Method == Complete {
					held++
				}
			}
			// Three standard deviations below the promised share.
			least := confidence - 3*math.Sqrt(confidence*(1-confidence)/rounds)
			if got := float64(held) / rounds; got < least {
				t.Errorf("the bound held in %.4f of the rounds, want at least %.4f", got, least)
			}
		})
	}
}

// drawStratum returns how many of a stratum's defective nodes are in a sample.
func drawStratum(rng *rand.Rand, size, defective, sample int64) (found int64) {
	for ; sample > 0; sample-- {
		if rng.Int64N(size) < defective {
			found++
			defective--
		}
		size--
	}
	return found
}
