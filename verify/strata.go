package verify

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// sizeLimits are the upper ends of the size classes in bytes of data; the last
// class has none.
func sizeLimits() [sizeClasses - 1]int64 { return [...]int64{4 << 10, 16 << 10, 64 << 10, 256 << 10} }

const sizeClasses = 5

func sizeClass(bytes int64) int {
	for class, limit := range sizeLimits() {
		if bytes < limit {
			return class
		}
	}
	return sizeClasses - 1
}

// Certainty strata are checked completely, so they are kept small: nodes beyond
// these limits stay in the population that the sample speaks for.
const (
	maxLargest     = 20   // of each day
	maxOdd         = 1000 // of each day: ids that are not 32 hex digits
	maxMidnight    = 1000 // of each day: nodes within aroundMidnight of its ends
	maxResent      = 1000 // of each day: nodes of batches that were sent again, and those between
	aroundMidnight = int64(1e6)

	maxCertain = maxLargest + maxOdd + maxMidnight
)

// pick is a node that may be compared.
type pick struct {
	id     string
	micros int64
	bytes  int64
	order  uint64 // decides which picks are kept: the smallest
}

// drawOrder is a node's place in the random order of a seed.
func drawOrder(seed uint64, id []byte) uint64 {
	salted := strconv.AppendUint(make([]byte, 0, 64), seed, 16)
	digest := sha256.Sum256(append(append(salted, ' '), id...))
	return binary.BigEndian.Uint64(digest[:])
}

// smallest keeps the picks that come first by order, at most limit of them.
type smallest struct {
	limit int
	picks []pick // some more, until they are sorted and cut
}

func (s *smallest) offer(p pick) {
	if s.picks = append(s.picks, p); len(s.picks) > 2*s.limit {
		s.picks = s.kept()
	}
}

func (s *smallest) kept() []pick {
	if len(s.picks) <= s.limit {
		return s.picks
	}
	slices.SortFunc(s.picks, byOrder)
	s.picks = s.picks[:s.limit]
	return s.picks
}

func byOrder(a, b pick) int {
	return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.id, b.id))
}

// minute is what a minute of a day holds: its first and last node may be those
// of a slice.
type minute struct {
	present     int64 // nodes that are in the day's index
	millis      int64 // sum of their timestamps, ms since 1970
	bytes       int64
	first, last pick
}

// Certainty strata are the first of a day's strata, the size classes the others.
const (
	largest = iota
	odd
	midnight
	resent
	certainties
)

// strata are the candidates of a day, or of a part of it.
type strata struct {
	day     node.Day
	certain int64              // nodes from here on are compared anyhow, µs
	sent    checkpoint.Ranges  // timestamps of batches that were sent again
	sizes   [sizeClasses]int64 // nodes of each size class
	picks   [certainties + sizeClasses]smallest
	minutes map[int64]*minute // by the minute's first µs
}

// newStrata returns strata for a day, of each class of which at most limit
// nodes will be drawn, all of them before certain. Batches of the timestamps in
// sent were sent again.
func newStrata(day node.Day, certain int64, sent checkpoint.Ranges, limit int) *strata {
	s := &strata{day: day, certain: certain, sent: sent, minutes: make(map[int64]*minute)}
	for i, limit := range []int{maxLargest, maxOdd, maxMidnight, maxResent, limit, limit, limit, limit, limit} {
		s.picks[i].limit = limit
	}
	return s
}

// offer considers a node that is in the day's index.
func (s *strata) offer(p pick) {
	start := p.micros - modulo(p.micros, minuteMicros)
	s.minute(start).add(minute{present: 1, millis: node.Millis(p.micros), bytes: p.bytes, first: p, last: p})
	if p.micros >= s.certain {
		return
	}
	class := sizeClass(p.bytes)
	s.sizes[class]++
	s.picks[certainties+class].offer(p)
	s.picks[largest].offer(pick{p.id, p.micros, p.bytes, math.MaxUint64 - uint64(p.bytes)})
	if len(p.id) != 32 || strings.Trim(p.id, "0123456789abcdef") != "" {
		s.picks[odd].offer(p)
	}
	if p.micros-s.day.Start() < aroundMidnight || s.day.End()-p.micros <= aroundMidnight {
		s.picks[midnight].offer(p)
	}
	if len(s.sent) > 0 && s.sent.Contains(checkpoint.Range{From: p.micros, To: p.micros + 1}) {
		s.picks[resent].offer(p)
	}
}

func (s *strata) minute(start int64) *minute {
	if s.minutes[start] == nil {
		s.minutes[start] = &minute{}
	}
	return s.minutes[start]
}

func (m *minute) add(other minute) {
	if m.present == 0 || other.first.micros < m.first.micros {
		m.first = other.first
	}
	if m.present == 0 || other.last.micros > m.last.micros {
		m.last = other.last
	}
	m.present += other.present
	m.millis += other.millis
	m.bytes += other.bytes
}

// merge adds another part of the same day.
func (s *strata) merge(other *strata) {
	for i := range other.picks {
		for _, p := range other.picks[i].kept() {
			s.picks[i].offer(p)
		}
	}
	for i, n := range other.sizes {
		s.sizes[i] += n
	}
	for start, m := range other.minutes {
		s.minute(start).add(*m)
	}
}

// draw returns the nodes of the certainty strata, and of the others a sample
// of the given rate from each size class, with the number it was drawn from.
func (s *strata) draw(rate float64, sliceBytes int64) (certain, sample []pick, population int64) {
	known := make(map[string]bool)
	candidates := s.sliceEnds(sliceBytes)
	for i := range certainties {
		candidates = append(candidates, s.picks[i].kept()...)
	}
	for _, p := range candidates {
		if !known[p.id] && p.micros < s.certain {
			known[p.id] = true
			certain = append(certain, p)
			s.sizes[sizeClass(p.bytes)]--
		}
	}
	for class, size := range s.sizes {
		others := slices.DeleteFunc(s.picks[certainties+class].kept(), func(p pick) bool { return known[p.id] })
		slices.SortFunc(others, byOrder)
		sample = append(sample, others[:min(quota(rate, size), int64(len(others)))]...)
		population += size
	}
	return certain, sample, population
}

// sliceEnds returns the first and the last node of each slice, cut as
// source.Slices cuts an undisturbed day: at minutes.
func (s *strata) sliceEnds(sliceBytes int64) (ends []pick) {
	starts := slices.Sorted(maps.Keys(s.minutes))
	var bytes int64
	for i, start := range starts {
		m := s.minutes[start]
		if i == 0 || bytes+m.bytes > sliceBytes {
			if i > 0 {
				ends = append(ends, s.minutes[starts[i-1]].last)
			}
			ends = append(ends, m.first)
			bytes = 0
		}
		bytes += m.bytes
	}
	if len(starts) > 0 {
		ends = append(ends, s.minutes[starts[len(starts)-1]].last)
	}
	return ends
}

// quota is how many of a stratum's nodes are drawn at a rate.
func quota(rate float64, size int64) int64 {
	return min(int64(math.Ceil(rate*float64(size))), size)
}

// modulo is never negative.
func modulo(a, b int64) int64 { return ((a % b) + b) % b }
