package checkpoint

import (
	"errors"
	"slices"
	"sort"
)

// Range is the half-open span [From, To) of a slice, in microseconds since
// 1970-01-01 00:00 UTC.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Ranges is a set of microseconds: sorted, disjoint, not empty and never
// touching, so that slices done side by side take the room of one. The zero
// value is the empty set.
type Ranges []Range

// Add returns the set with r in it. Like append it may reuse the receiver's
// array, so the receiver is not to be used afterwards. An empty r adds nothing.
func (rs Ranges) Add(r Range) Ranges {
	if r.From >= r.To {
		return rs
	}
	first := sort.Search(len(rs), func(i int) bool { return rs[i].To >= r.From })
	end := sort.Search(len(rs), func(i int) bool { return rs[i].From > r.To })
	if first < end {
		r = Range{From: min(r.From, rs[first].From), To: max(r.To, rs[end-1].To)}
	}
	return slices.Replace(rs, first, end, r)
}

// Coarse returns the set as at most limit ranges: the narrowest gaps between
// them are filled. Like append it may reuse the receiver's array.
func (rs Ranges) Coarse(limit int) Ranges {
	for len(rs) > limit {
		narrowest := 1
		for i := range rs[1:] {
			if rs[i+1].From-rs[i].To < rs[narrowest].From-rs[narrowest-1].To {
				narrowest = i + 1
			}
		}
		rs = rs.Add(Range{From: rs[narrowest-1].To, To: rs[narrowest].From})
	}
	return rs
}

// Missing returns what of [from, to) is not in the set, in ascending order.
func (rs Ranges) Missing(from, to int64) []Range {
	var missing []Range
	first := sort.Search(len(rs), func(i int) bool { return rs[i].To > from })
	for _, r := range rs[first:] {
		if r.From >= to {
			break
		}
		if from < r.From {
			missing = append(missing, Range{From: from, To: r.From})
		}
		from = r.To
	}
	if from < to {
		missing = append(missing, Range{From: from, To: to})
	}
	return missing
}

// Contains says whether all of r is in the set. An empty r always is.
func (rs Ranges) Contains(r Range) bool { return len(rs.Missing(r.From, r.To)) == 0 }

// check says what keeps a decoded set from being one.
func (rs Ranges) check() error {
	for i, r := range rs {
		if r.From >= r.To {
			return errors.New("a range is empty")
		}
		if i > 0 && rs[i-1].To >= r.From {
			return errors.New("ranges are out of order")
		}
	}
	return nil
}
