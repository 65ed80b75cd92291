package verify

import (
	"math"

	"gonum.org/v1/gonum/stat/combin"
	"gonum.org/v1/gonum/stat/distuv"
)

// largePart is the share of a population from which on a sample is counted as
// drawn without replacement: below it that makes no difference worth a name.
const largePart = 0.05

// Method names how a bound was computed.
type Method string

// The methods.
const (
	ClopperPearson Method = "clopper-pearson" // the sample as if it were drawn with replacement
	Hypergeometric Method = "hypergeometric"  // without: exact where the sample is a large part
	Complete       Method = "complete"        // every node was compared: nothing is estimated
)

// Bound says how many nodes of a population may be defective at most, by a
// random sample of it and with a given confidence.
type Bound struct {
	Confidence float64 `json:"confidence"` // one-sided, such as 0.95
	Population int64   `json:"population"` // nodes that the sample speaks for
	Sample     int64   `json:"sample"`     // nodes that count in the bound; a few more were compared
	Defects    int64   `json:"defects"`    // of these
	Method     Method  `json:"method"`
	Share      float64 `json:"share"` // fewer than this share is defective
	Nodes      int64   `json:"nodes"` // and fewer than this number, or at most the number found if complete
}

// NewBound computes the upper bound for the defects of a population of which a
// sample was drawn in proportion from each stratum. Proportional strata find at
// least as much as a plain sample does, so the plain sample's bound holds; where
// strata are so small that the hypergeometric one would not, each defective node
// was still drawn with the probability sample/population, and the larger of the
// two bounds is given.
func NewBound(confidence float64, population, sample, defects int64) Bound {
	b := Bound{Confidence: confidence, Population: population, Sample: sample, Defects: defects}
	switch {
	case sample >= population:
		b.Method, b.Nodes = Complete, defects
	case float64(sample) > largePart*float64(population):
		b.Method = Hypergeometric
		b.Nodes = 1 + max(mostDefective(b, hypergeometricTail), mostDefective(b, thinnedTail))
	default:
		b.Method, b.Share = ClopperPearson, clopperPearson(confidence, sample, defects)
		b.Nodes = int64(math.Ceil(b.Share * float64(population)))
		return b
	}
	if population > 0 {
		b.Share = float64(b.Nodes) / float64(population)
	}
	return b
}

// clopperPearson is the one-sided upper bound for a share: the share for which
// so few defects have the probability 1-confidence.
func clopperPearson(confidence float64, sample, defects int64) float64 {
	if defects >= sample {
		return 1
	}
	return distuv.Beta{Alpha: float64(defects) + 1, Beta: float64(sample - defects)}.Quantile(confidence)
}

// mostDefective is the largest number of defective nodes for which finding so few as
// were found is not less probable than 1-confidence. The tail falls with the
// number of defective nodes.
func mostDefective(b Bound, tail func(Bound, int64) float64) int64 {
	low, high := b.Defects, b.Population // the first is possible, and the last may be
	for low < high {
		middle := low + (high-low+1)/2
		if tail(b, middle) >= 1-b.Confidence {
			low = middle
			continue
		}
		high = middle - 1
	}
	return low
}

// hypergeometricTail is the probability that a plain sample without replacement
// holds at most b.Defects of the defective nodes.
func hypergeometricTail(b Bound, defective int64) float64 {
	population, sample := float64(b.Population), float64(b.Sample)
	all := combin.LogGeneralizedBinomial(population, sample)
	tail := 0.0
	for k := max(0, b.Sample-(b.Population-defective)); k <= min(b.Defects, defective); k++ {
		tail += math.Exp(combin.LogGeneralizedBinomial(float64(defective), float64(k)) +
			combin.LogGeneralizedBinomial(population-float64(defective), sample-float64(k)) - all)
	}
	return tail
}

// thinnedTail is the same probability when each node is drawn by itself.
func thinnedTail(b Bound, defective int64) float64 {
	return distuv.Binomial{N: float64(defective), P: float64(b.Sample) / float64(b.Population)}.CDF(float64(b.Defects))
}

// sampleSize is the number of nodes of which none may be defective so that the
// bound is below a share of the population, with a confidence.
func sampleSize(confidence, share float64) int64 {
	if share <= 0 || share >= 1 {
		return math.MaxInt64
	}
	return int64(math.Ceil(math.Log(1-confidence) / math.Log1p(-share)))
}
