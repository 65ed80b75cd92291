package checkpoint_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// bitmap is the naive model of Ranges: one flag for each microsecond.
const bitmapBits = 64

type bitmap [bitmapBits]bool

func (b *bitmap) add(r checkpoint.Range) {
	for i := r.From; i < r.To; i++ {
		b[i] = true
	}
}

// runs lists the maximal runs of microseconds in [from, to) that are set, or
// those that are not.
func (b *bitmap) runs(set bool, from, to int64) []checkpoint.Range {
	var runs []checkpoint.Range
	for i := from; i < to; i++ {
		if b[i] != set {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].To == i {
			runs[n-1].To++
			continue
		}
		runs = append(runs, checkpoint.Range{From: i, To: i + 1})
	}
	return runs
}

func TestRangesAreABitmap(t *testing.T) {
	t.Parallel()
	draw := rapid.Custom(func(t *rapid.T) checkpoint.Range {
		from := rapid.Int64Range(0, bitmapBits).Draw(t, "from")
		return checkpoint.Range{From: from, To: rapid.Int64Range(0, bitmapBits).Draw(t, "to")}
	})
	rapid.Check(t, func(t *rapid.T) {
		var model bitmap
		var ranges checkpoint.Ranges
		for _, r := range rapid.SliceOfN(draw, 0, 30).Draw(t, "added") {
			model.add(r)
			ranges = ranges.Add(r)
			if want := model.runs(true, 0, bitmapBits); !slices.Equal(ranges, want) {
				t.Fatalf("after %v: %v, want %v", r, ranges, want)
			}
		}
		asked := draw.Draw(t, "asked")
		missing := model.runs(false, asked.From, asked.To)
		if got := ranges.Missing(asked.From, asked.To); !slices.Equal(got, missing) {
			t.Fatalf("missing %v = %v, want %v", asked, got, missing)
		}
		var sum int64
		for _, set := range model {
			if set {
				sum++
			}
		}
		if got := length(ranges); got != sum {
			t.Fatalf("%d microseconds, want %d", got, sum)
		}
		checkCoarse(t, ranges, rapid.IntRange(1, 5).Draw(t, "limit"))
	})
}

// checkCoarse wants all of the set in few ranges, and no more than the
// narrowest gaps filled.
func checkCoarse(t *rapid.T, ranges checkpoint.Ranges, limit int) {
	var gaps []int64
	for i := range ranges[min(1, len(ranges)):] {
		gaps = append(gaps, ranges[i+1].From-ranges[i].To)
	}
	slices.Sort(gaps)
	want := length(ranges)
	for _, gap := range gaps[:max(0, len(ranges)-limit)] {
		want += gap
	}
	coarse := slices.Clone(ranges).Coarse(limit)
	if len(coarse) > limit || length(coarse) != want {
		t.Fatalf("%v in %d ranges: %v, of %d, want %d", ranges, limit, coarse, length(coarse), want)
	}
	for _, r := range ranges {
		if !coarse.Contains(r) {
			t.Fatalf("%v lacks %v", coarse, r)
		}
	}
}

// length is the number of microseconds in a set.
func length(rs checkpoint.Ranges) (micros int64) {
	for _, r := range rs {
		micros += r.To - r.From
	}
	return micros
}
