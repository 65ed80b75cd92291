package node

import (
	"encoding/json"
	"fmt"
)

// Fate is what became of a node. Every node that was read has exactly one.
type Fate uint8

// The fates, in the order in which summaries list them.
const (
	Stored         Fate = iota // this migration wrote it
	AlreadyThere               // the target had this very version before
	Superseded                 // the target has a newer version
	Moved                      // Sentry rewrote it meanwhile: its timestamp went to another day
	Vanished                   // deleted at the source after it was seen
	OutOfRetention             // older than the days that are kept, not copied
	Rejected                   // not copied, listed with its reason
	Lost                       // its day's index is gone, and no retention covers the day
	fateCount
)

var fateNames = [fateCount]string{
	"stored", "already_there", "superseded", "moved", "vanished", "out_of_retention", "rejected", "lost",
}

// String is the fate's name in reports, JSON and the checkpoint.
func (f Fate) String() string { return fateNames[f] }

// Fates counts nodes by fate. The zero value is ready to use.
type Fates [fateCount]int64

// Add adds the counts of other.
func (f *Fates) Add(other Fates) {
	for i, n := range other {
		f[i] += n
	}
}

// Sum is the number of nodes that have a fate.
func (f Fates) Sum() (total int64) {
	for _, n := range f {
		total += n
	}
	return total
}

// MarshalJSON writes an object with one number for each fate, zeros included.
func (f Fates) MarshalJSON() ([]byte, error) {
	counts := make(map[string]int64, fateCount)
	for i, n := range f {
		counts[fateNames[i]] = n
	}
	return json.Marshal(counts)
}

// UnmarshalJSON reads what MarshalJSON wrote; an unknown fate is an error.
func (f *Fates) UnmarshalJSON(data []byte) error {
	var counts map[string]int64
	if err := json.Unmarshal(data, &counts); err != nil {
		return err
	}
	*f = Fates{}
	for i, name := range fateNames {
		f[i] = counts[name]
		delete(counts, name)
	}
	for name := range counts {
		return fmt.Errorf("unknown fate %q", name)
	}
	return nil
}
