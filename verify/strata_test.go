package verify

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

const testDay = node.Day(20_000)

// dayOf makes a day's nodes, most of them small, one in ten with an odd id.
func dayOf(seed uint64, n int) []pick {
	rng := rand.New(rand.NewPCG(1, 1))
	picks := make([]pick, n)
	for i := range picks {
		id := fmt.Sprintf("%032x", i)
		if i%10 == 0 {
			id = fmt.Sprintf("i-o:%d", i)
		}
		picks[i] = pick{id, testDay.Start() + int64(i)*int64(86_400e6)/int64(n), int64(1000 * math.Exp(3*rng.Float64()*rng.Float64())), drawOrder(seed, []byte(id))}
	}
	return picks
}

func drawFrom(picks []pick, certain int64, parts int) (strata *strata, certainly, sample []pick, population int64) {
	const rate = 0.02
	limit := int(quota(rate, int64(len(picks)))) + maxCertain + 2000
	strata = newStrata(testDay, certain, nil, limit)
	for part := range parts {
		s := newStrata(testDay, certain, nil, limit)
		for i := part; i < len(picks); i += parts {
			s.offer(picks[i])
		}
		strata.merge(s)
	}
	certainly, sample, population = strata.draw(rate, 32<<20)
	return strata, certainly, sample, population
}

func TestDrawIsProportionalAndRepeatable(t *testing.T) {
	t.Parallel()
	picks := dayOf(1, 50_000)
	strata, certain, sample, population := drawFrom(picks, math.MaxInt64, 1)
	if population+int64(len(certain)) != int64(len(picks)) {
		t.Errorf("%d certain and a population of %d make %d nodes", len(certain), population, len(picks))
	}
	var drawn [sizeClasses]int64
	both := make(map[string]bool)
	for _, p := range certain {
		both[p.id] = true
	}
	for _, p := range sample {
		drawn[sizeClass(p.bytes)]++
		if both[p.id] {
			t.Errorf("%s is drawn twice", p.id)
		}
		both[p.id] = true
	}
	for class, size := range strata.sizes {
		if drawn[class] != quota(0.02, size) {
			t.Errorf("class %d: %d of %d nodes are drawn", class, drawn[class], size)
		}
	}
	for parts := 2; parts < 5; parts++ {
		_, sameCertain, same, _ := drawFrom(picks, math.MaxInt64, parts)
		if !slices.Equal(same, sample) || len(sameCertain) != len(certain) {
			t.Errorf("in %d parts another sample is drawn", parts)
		}
	}
	if _, _, other, _ := drawFrom(dayOf(2, 50_000), math.MaxInt64, 1); slices.Equal(idsOfPicks(other), idsOfPicks(sample)) {
		t.Error("another seed draws the same")
	}
}

// TestDrawIsUniform draws with many seeds: no node may come much more often
// than chance allows.
func TestDrawIsUniform(t *testing.T) {
	t.Parallel()
	const nodes, seeds = 6_000, 300
	counts := make(map[string]int)
	for seed := range uint64(seeds) {
		_, _, sample, _ := drawFrom(dayOf(seed, nodes), math.MaxInt64, 1)
		for _, p := range sample {
			counts[p.id]++
		}
	}
	// Drawn with probability 0.02 each time: 6 on average, and a mean of 6 gives
	// more than 22 in less than one node of a million.
	for id, n := range counts {
		if n > 22 {
			t.Errorf("%s is drawn %d times of %d", id, n, seeds)
		}
	}
	if len(counts) < nodes*8/10 {
		t.Errorf("only %d nodes were ever drawn", len(counts))
	}
}

func TestCertainStrata(t *testing.T) {
	t.Parallel()
	picks := dayOf(1, 20_000)
	picks[7].bytes = 50 << 20
	_, certain, _, _ := drawFrom(picks, math.MaxInt64, 2)
	ids := idsOfPicks(certain)
	for name, p := range map[string]pick{"largest": picks[7], "first": picks[0], "last": picks[len(picks)-1]} {
		if !slices.Contains(ids, p.id) {
			t.Errorf("the %s node is not checked for certain", name)
		}
	}
	late := testDay.Start() + 43_200e6
	_, certain, sample, population := drawFrom(picks, late, 1)
	for _, p := range append(certain, sample...) {
		if p.micros >= late {
			t.Errorf("%s is drawn though it is compared anyhow", p.id)
		}
	}
	if got := population + int64(len(certain)); got != 10_000 {
		t.Errorf("%d nodes before noon, want 10,000", got)
	}
}

// Of batches that were sent again so many nodes are certain as there is room
// for, the same with each number of parts.
func TestWhatWasSentAgainIsCertain(t *testing.T) {
	t.Parallel()
	picks := dayOf(1, 20_000)
	for i := range picks {
		picks[i].id = fmt.Sprintf("%032x", i) // no odd ones
	}
	draw := func(from, to int) (again int) {
		sent := checkpoint.Ranges{{From: picks[from].micros, To: picks[to].micros}}
		s := newStrata(testDay, math.MaxInt64, sent, 10_000)
		for _, p := range picks {
			s.offer(p)
		}
		certain, _, _ := s.draw(0, 1<<40)
		for _, p := range certain {
			if p.micros >= picks[from].micros && p.micros < picks[to].micros {
				again++
			}
		}
		return again
	}
	if n := draw(5_000, 5_600); n != 600 {
		t.Errorf("%d of 600 nodes that were sent again are certain", n)
	}
	if n := draw(5_000, 15_000); n < maxResent || n > maxResent+maxLargest {
		t.Errorf("%d of 10,000 nodes that were sent again are certain, want %d and a few of the largest", n, maxResent)
	}
}

func idsOfPicks(picks []pick) (ids []string) {
	for _, p := range picks {
		ids = append(ids, p.id)
	}
	return ids
}
