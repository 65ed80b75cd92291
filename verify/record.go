package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// request names what a run was asked for, but for the subset: subsets add up.
func (v *Verification) request() string {
	o := v.options
	text := fmt.Sprintf("%s since=%d until=%d horizon=%d accept=%s", o.Level, o.Since, o.Until, v.horizon(), o.Accept)
	v.Checkpoint.View(func(s *checkpoint.State) {
		text += fmt.Sprintf(" switched=%d", s.CatchUp.SwitchedAt)
		if c := s.CatchUp.Completed; c != nil {
			text += fmt.Sprintf(" completed=%d", c.Until)
		}
	})
	if o.Level == Sample {
		text += fmt.Sprintf(" seed=%d confidence=%g max-defects=%g", o.Seed, o.Confidence, o.MaxDefects)
	}
	return text
}

// resume continues the record of an unfinished run that was asked for the same, or
// begins a new one.
func (v *Verification) resume(ctx context.Context) (err error) {
	request := v.request()
	var size int64
	var known bool
	v.Checkpoint.View(func(s *checkpoint.State) {
		if known = s.Verify != nil && s.Verify.Run == request && !s.Verify.Complete; known {
			size = s.Verify.Findings
		}
	})
	if known {
		v.options.Notify(Event{Kind: Resumed})
		err = v.forgetOutdated(ctx)
	} else {
		err = v.restart(ctx, request)
	}
	if err != nil {
		return err
	}
	rounds := make(map[string]int)
	v.Checkpoint.View(func(s *checkpoint.State) {
		for name, d := range s.Verify.Days {
			rounds[name] = d.Round
		}
	})
	if v.findings, err = openFindings(v.options.Findings, size, rounds); err != nil {
		return err
	}
	v.seed = v.drawSeed()
	return nil
}

// outdated returns the recorded days whose index is not what was compared any
// more, and apart from them those in whose index Sentry writes.
func (v *Verification) outdated() (changed, written map[node.Day]bool, err error) {
	changed, written = map[node.Day]bool{}, map[node.Day]bool{}
	days, err := v.results()
	for i := range days {
		day, parseErr := node.ParseDay(days[i].Day)
		print, behind := v.scope.prints[days[i].Index]
		switch before := days[i].Print; {
		case parseErr != nil, before == nil && !behind, before != nil && behind && *before == print:
		case before != nil && behind && before.UUID == print.UUID && !days[i].Ours:
			written[day] = true
		default:
			changed[day] = true
		}
	}
	return changed, written, err
}

// forgetOutdated forgets results of indices that changed. Of one that Sentry writes
// to, the payloads stay compared: else they never would be. A sample's defects that
// are forgotten may have been mended: that uses the sample up.
func (v *Verification) forgetOutdated(ctx context.Context) error {
	changed, written, err := v.outdated()
	if err != nil || len(changed)+len(written) == 0 {
		return err
	}
	if err := v.keepCompared(written); err != nil {
		return err
	}
	before, err := v.sampleDefects()
	if err != nil {
		return err
	}
	err = v.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		for day := range changed {
			d := s.Verify.Day(day.String())
			*d = checkpoint.VerifiedDay{Round: d.Round + 1}
		}
		for day := range written {
			s.Verify.Day(day.String()).Result = nil
		}
	})
	if err != nil {
		return err
	}
	after, err := v.sampleDefects()
	if err != nil || after == before {
		return err
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) { s.Verify.Defects, s.Verify.Repaired = s.Verify.Defects+before-after, true })
}

// keepCompared keeps what was counted of all payloads of days whose ids are
// compared again.
func (v *Verification) keepCompared(days map[node.Day]bool) error {
	results, err := v.results()
	v.compared = make(map[node.Day]Compared)
	for i := range results {
		if day, err := node.ParseDay(results[i].Day); err == nil && days[day] {
			v.compared[day] = results[i].All
		}
	}
	return err
}

// restart begins a new record.
func (v *Verification) restart(ctx context.Context, request string) error {
	rate, err := v.drawRate(ctx)
	if err != nil {
		return err
	}
	found, err := v.sampleDefects()
	if err != nil {
		return err
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		fresh := &checkpoint.Verify{Run: request, Started: time.Now().UTC(), Rate: rate}
		if before := s.Verify; before != nil {
			fresh.Draws, fresh.Defects = before.Draws, before.Defects+found
			if found > 0 || before.Repaired {
				fresh.Draws++ // that sample is known: it says nothing about the rest any more
			}
		}
		s.Verify = fresh
	})
}

// sampleDefects counts what the recorded run found in payloads that it drew.
func (v *Verification) sampleDefects() (n int64, err error) {
	days, err := v.results()
	for _, d := range days {
		n += d.Sample.Defects + d.Certain.Defects
	}
	return n, err
}

// drawSeed is the seed of this run: the one that was given, mixed with the number
// of samples that are used up.
func (v *Verification) drawSeed() (seed uint64) {
	v.Checkpoint.View(func(s *checkpoint.State) { seed = v.options.Seed + s.Verify.Draws*0x9e3779b97f4a7c15 })
	return seed
}

// drawRate is the share of the nodes that are drawn: so many that the bound is
// what was asked for even if the certainty strata are as large as they may be.
func (v *Verification) drawRate(ctx context.Context) (rate float64, err error) {
	var late int64
	if from := max(v.scope.from, v.scope.certain); from < v.scope.until {
		err = v.again(ctx, func() (err error) { late, err = v.Source.Count(ctx, from, v.scope.until); return err })
	}
	population := v.scope.planned - late - int64(len(v.rejected))
	for _, d := range v.scope.days {
		population -= int64(v.scope.maxCertain(d))
	}
	if wanted := SampleSize(v.options.Confidence, v.options.MaxDefects); wanted < population {
		return float64(wanted) / float64(population), err
	}
	return 1, err
}

// rate is the one that the run began with.
func (v *Verification) rate() (rate float64) {
	v.Checkpoint.View(func(s *checkpoint.State) { rate = s.Verify.Rate })
	return rate
}

// recorded says whether the ids of a day are checked.
func (v *Verification) recorded(day node.Day) (known bool) {
	v.Checkpoint.View(func(s *checkpoint.State) {
		d, ok := s.Verify.Days[day.String()]
		known = ok && d.Result != nil
	})
	return known
}

// record makes a day's result durable, after its findings.
func (v *Verification) record(ctx context.Context, day node.Day, result *Day) error {
	encoded, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("record verified day %s: %w", day, err)
	}
	size, err := v.findings.sync()
	if err != nil {
		return err
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		s.Verify.Day(day.String()).Result = encoded
		s.Verify.Findings = max(size, s.Verify.Findings)
	})
}

// finish records that nothing is left, if that is so: after a subset, the
// others are. What is asked for next is compared again.
func (v *Verification) finish(ctx context.Context) error {
	if !v.complete() {
		return nil
	}
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) { s.Verify.Complete = true })
}

// Undelivered has the same command resume this run, which has come to its end: its
// report did not reach whom it is for.
func (v *Verification) Undelivered(ctx context.Context) error {
	return v.Checkpoint.Update(ctx, func(s *checkpoint.State) {
		if s.Verify != nil {
			s.Verify.Complete = false
		}
	})
}

// complete says whether all payloads are compared that the level is about.
func (v *Verification) complete() bool {
	if v.options.Level != Full {
		return true
	}
	complete := true
	v.Checkpoint.View(func(s *checkpoint.State) {
		for _, d := range v.scope.days {
			record, ok := s.Verify.Days[d.day.String()]
			complete = complete && ok && record.Payloads.Contains(checkpoint.Range{From: d.from, To: d.to})
		}
	})
	return complete
}

// results returns what is recorded of each day, by the order of the days.
func (v *Verification) results() (days []Day, err error) {
	v.Checkpoint.View(func(s *checkpoint.State) {
		if s.Verify == nil {
			return
		}
		for name, record := range s.Verify.Days {
			if record.Result == nil {
				continue
			}
			var d Day
			if err = json.Unmarshal(record.Result, &d); err != nil {
				err = fmt.Errorf("read verified day %s: %w", name, err)
				return
			}
			days = append(days, d)
		}
	})
	return days, err
}
