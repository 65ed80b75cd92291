package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Verify is what the verification that is under way has done, or the last one
// that came to its end.
type Verify struct {
	Run      string                  `json:"run"` // what was asked for: only the same is resumed
	Started  time.Time               `json:"started"`
	Complete bool                    `json:"complete,omitempty"` // nothing is left of what was asked for
	Rate     float64                 `json:"rate,omitempty"`     // share of the nodes that are drawn
	Findings int64                   `json:"findings"`           // bytes of the file of findings that count
	Draws    uint64                  `json:"draws,omitempty"`    // samples that found a defect or served a repair, before this one
	Defects  int64                   `json:"defects,omitempty"`  // that those found
	Repaired bool                    `json:"repaired,omitempty"` // what this run found was repaired
	Days     map[string]*VerifiedDay `json:"days"`               // by node.Day.String
}

// VerifiedDay is what is verified of a day.
type VerifiedDay struct {
	Round    int             `json:"round,omitempty"`    // how often it was forgotten: findings of earlier rounds do not count
	Payloads Ranges          `json:"payloads,omitempty"` // whose payloads were all compared
	Result   json.RawMessage `json:"result,omitempty"`   // counts, in package verify's form; nil: ids not yet checked
}

// Day returns the record of a day, made empty when there is none yet.
func (v *Verify) Day(name string) *VerifiedDay {
	if v.Days == nil {
		v.Days = map[string]*VerifiedDay{}
	}
	if v.Days[name] == nil {
		v.Days[name] = &VerifiedDay{}
	}
	return v.Days[name]
}

// check refuses a record that parses but that no run wrote.
func (v *Verify) check() error {
	if v == nil {
		return nil
	}
	for name, day := range v.Days {
		if day == nil {
			return errors.New("verified day " + name + " is null")
		}
		if err := day.Payloads.check(); err != nil {
			return fmt.Errorf("verified day %s: %w", name, err)
		}
	}
	return nil
}
