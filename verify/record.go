package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// record is what the checkpoint keeps of a verification, and the findings beside it.
type record struct {
	*checkpoint.Checkpoint
	findings *findings

	mu   sync.Mutex
	days map[string]*Day     // whose ids are compared
	kept map[string]Compared // all payloads of days whose ids are to be compared again
}

// load reads the results of the days.
func (r *record) load() (err error) {
	r.days, r.kept = make(map[string]*Day), make(map[string]Compared)
	r.View(func(s *checkpoint.State) {
		if s.Verify == nil {
			return
		}
		for name, recorded := range s.Verify.Days {
			if recorded.Result == nil {
				continue
			}
			d := &Day{}
			if err = json.Unmarshal(recorded.Result, d); err != nil {
				err = fmt.Errorf("read verified day %s: %w", name, err)
				return
			}
			r.days[name] = d
		}
	})
	return err
}

// put makes a day's result durable, after its findings.
func (r *record) put(ctx context.Context, d *Day) error {
	r.mu.Lock()
	r.days[d.Day] = d
	r.mu.Unlock()
	return r.addPart(ctx, d.Day, checkpoint.Range{}, &Day{})
}

// addPart adds to a day's result what was counted of the payloads of a part of it,
// and makes that durable, after the findings.
func (r *record) addPart(ctx context.Context, day string, part checkpoint.Range, counted *Day) error {
	size, err := r.findings.sync()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.days[day]
	result.add(counted)
	encoded, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("record verified day %s: %w", day, err)
	}
	return r.Update(ctx, func(s *checkpoint.State) {
		recorded := s.Verify.Day(day)
		recorded.Result = encoded
		if part.From < part.To {
			recorded.Payloads = recorded.Payloads.Add(part)
		}
		s.Verify.Findings = max(size, s.Verify.Findings)
	})
}

// forget takes results of days out of the record, but for what was counted of all
// payloads, which are not compared again. Defects of a sample that are forgotten
// may have been mended: that uses the sample up.
func (r *record) forget(ctx context.Context, days map[string]bool, also func(*checkpoint.Verify)) error {
	var drawn int64
	for name := range days {
		if d := r.days[name]; d != nil {
			drawn += d.drawnDefects()
			r.kept[name] = d.All
			delete(r.days, name)
		}
	}
	return r.Update(ctx, func(s *checkpoint.State) {
		for name := range days {
			s.Verify.Day(name).Result = nil
		}
		if s.Verify.Defects += drawn; drawn > 0 {
			s.Verify.Repaired = true
		}
		also(s.Verify)
	})
}

// drawnDefects counts what was found in payloads that were drawn.
func (r *record) drawnDefects() (n int64) {
	for _, d := range r.days {
		n += d.drawnDefects()
	}
	return n
}

// payloads returns the parts of a day whose payloads were all compared.
func (r *record) payloads(day string) (done checkpoint.Ranges) {
	r.View(func(s *checkpoint.State) {
		if d := s.Verify.Days[day]; d != nil {
			done = append(done, d.Payloads...)
		}
	})
	return done
}

// verify returns what is recorded of the run but for its days.
func (r *record) verify() (v checkpoint.Verify) {
	r.View(func(s *checkpoint.State) { v = *s.Verify })
	return v
}
