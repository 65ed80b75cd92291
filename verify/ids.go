package verify

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

const (
	// idsAtOnce is how many ids one question asks for: where the measured
	// servers stop gaining (280,000 ids/s against one index).
	idsAtOnce = 2000
	// rowsPerUnit is how many rows one reading of keys takes at most, if they
	// are spread evenly: a second or so.
	rowsPerUnit = 50_000
	maxUnits    = 96
)

// compareIDs checks the ids of every day that is not recorded yet, and for the
// level Sample the payloads of its sample.
func (v *Verification) compareIDs(ctx context.Context) error {
	for _, d := range append(v.scope.days, v.scope.rowless()...) {
		if v.recorded(d.day) {
			continue
		}
		if v.stopped() {
			return ErrInterrupted
		}
		if err := v.compareDay(ctx, d); err != nil {
			return fmt.Errorf("verify day %s: %w", d.day, err)
		}
	}
	return nil
}

func (v *Verification) compareDay(ctx context.Context, d scopeDay) error {
	v.options.Notify(Event{Kind: DayStarted, Day: d.day.String(), Nodes: d.rows})
	before := v.findings.total()
	p := v.newDayPass(d)
	if err := p.readUnits(ctx); err != nil {
		return err
	}
	if err := p.lookCloser(ctx); err != nil {
		return err
	}
	if err := p.suspects.flush(ctx); err != nil {
		return err
	}
	if v.options.Level == Sample {
		if err := p.comparePayloads(ctx); err != nil {
			return err
		}
	}
	v.options.Notify(Event{Kind: DayCompared, Day: d.day.String(), Nodes: p.result.Source, Findings: v.findings.total() - before})
	return v.record(ctx, d.day, &p.result)
}

// dayPass is the check of one day's ids.
type dayPass struct {
	*Verification
	scopeDay
	index    string
	behind   bool   // its index is behind the alias
	others   string // foreign indices, in which its ids must not be
	suspects *suspects
	unique   bool // no id comes twice

	mu     sync.Mutex
	strata *strata
	result Day
}

func (v *Verification) newDayPass(d scopeDay) *dayPass {
	name := v.Target.Backend().IndexOf(d.day)
	holding, behind := v.scope.indices[name]
	p := &dayPass{
		Verification: v, scopeDay: d, index: name, behind: behind, others: v.scope.others(name),
		unique: v.Source.Relation().UniqueID,
	}
	p.strata = p.newStrata()
	p.result = Day{Day: d.day.String(), Index: name, Ours: holding.Ours, TargetBytes: holding.Bytes, All: v.compared[d.day]}
	p.suspects = &suspects{Verification: v, look: v.lookIDs, count: p.count}
	return p
}

// count changes the day's result, which several goroutines add to.
func (p *dayPass) count(change func(*Day)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.result)
}

// newStrata returns strata for the day, or a part of it.
func (p *dayPass) newStrata() *strata {
	return newStrata(p.day, p.scope.certain, p.scope.sentAgain[p.day], p.drawLimit())
}

// drawLimit is how many nodes of a size class may be drawn, with those that
// turn out to belong to a certainty stratum.
func (p *dayPass) drawLimit() int {
	if p.options.Level != Sample {
		return 0
	}
	return int(quota(p.rate(), p.rows+rowsPerUnit)) + p.scope.maxCertain(p.scopeDay) + 2*maxUnits
}

// readUnits reads the keys of the day in units, several at the same time.
func (p *dayPass) readUnits(ctx context.Context) error {
	units := min(p.rows/rowsPerUnit+1, maxUnits)
	width := (p.to-p.from)/units + 1
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.options.Workers)
	for from := p.from; from < p.to; from += width {
		group.Go(func() error { return p.readUnit(ctx, from, min(from+width, p.to)) })
	}
	return group.Wait()
}

// unit is one reading of keys. It counts apart from others, so that a reading
// that broke off leaves nothing behind.
type unit struct {
	*dayPass
	batch    []pick
	strata   *strata
	result   Day
	suspects []suspect
}

func (p *dayPass) readUnit(ctx context.Context, from, to int64) error {
	var u *unit
	err := p.again(ctx, func() error {
		u = &unit{dayPass: p, strata: p.newStrata()}
		if err := p.Source.Entries(ctx, from, to, func(e source.Entry) error { return u.add(ctx, e) }); err != nil {
			return err
		}
		return u.ask(ctx)
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.strata.merge(u.strata)
	p.result.add(&u.result)
	p.mu.Unlock()
	return p.suspects.add(ctx, u.suspects...)
}

func (u *unit) add(ctx context.Context, e source.Entry) error {
	u.result.Source++
	u.result.SourceBytes += e.Bytes
	u.result.Sizes[sizeClass(e.Bytes)]++
	if u.rejected.has(e.ID, e.Micros) {
		u.result.Rejected++
		return nil
	}
	u.batch = append(u.batch, pick{string(e.ID), e.Micros, e.Bytes, drawOrder(u.options.Seed, e.ID)})
	if len(u.batch) < idsAtOnce {
		return nil
	}
	return u.ask(ctx)
}

// ask asks whether the batch is in the day's index, and nowhere else.
func (u *unit) ask(ctx context.Context) error {
	defer func() { u.batch = u.batch[:0] }()
	ids := u.ids()
	absent, err := u.absent(ctx, ids)
	if err != nil {
		return err
	}
	for _, p := range u.batch {
		if absent[p.id] {
			u.suspects = append(u.suspects, suspect{id: p.id, day: u.day, row: true})
			continue
		}
		u.strata.offer(p)
		u.result.Present++
	}
	u.meter.add(int64(len(u.batch)), 0)
	return u.askOthers(ctx, ids)
}

// ids returns the ids of the batch, each once: a view can have one twice.
func (u *unit) ids() []string {
	ids := make([]string, 0, len(u.batch))
	known := make(map[string]bool)
	for _, p := range u.batch {
		if !u.unique && known[p.id] {
			continue
		}
		if !u.unique {
			known[p.id] = true
		}
		ids = append(ids, p.id)
	}
	return ids
}

// absent returns those of the ids that the day's index does not have.
func (u *unit) absent(ctx context.Context, ids []string) (map[string]bool, error) {
	absent := make(map[string]bool)
	if u.behind && len(ids) > 0 {
		return absent, u.halve(ctx, ids, absent)
	}
	for _, id := range ids {
		absent[id] = true
	}
	return absent, nil
}

// halve counts how many of the ids the day's index has, and where some but not
// all are there, goes on with either half.
func (u *unit) halve(ctx context.Context, ids []string, absent map[string]bool) error {
	var n int64
	err := u.again(ctx, func() (err error) { n, err = u.Target.Present(ctx, u.index, ids); return err })
	switch {
	case err != nil:
		return err
	case n > int64(len(ids)):
		return fmt.Errorf("index %s has %d documents for %d ids", u.index, n, len(ids))
	case n == int64(len(ids)):
		return nil
	case n == 0:
		for _, id := range ids {
			absent[id] = true
		}
		return nil
	}
	middle := len(ids) / 2
	if err := u.halve(ctx, ids[:middle], absent); err != nil {
		return err
	}
	return u.halve(ctx, ids[middle:], absent)
}

// maxNames is how long a list of indices in a URL may be, in bytes: servers
// take a request line of 4 kB.
const maxNames = 2000

// askOthers suspects the ids that foreign indices have as well. In those a
// document too many is no sign: Sentry writes to them.
func (u *unit) askOthers(ctx context.Context, ids []string) error {
	if u.others == "" || len(ids) == 0 {
		return nil
	}
	var copies []target.Copy
	err := u.again(ctx, func() (err error) {
		if len(u.others) > maxNames {
			copies, err = u.Target.Elsewhere(ctx, u.index, ids)
			return err
		}
		copies, err = u.Target.Copies(ctx, u.others, ids)
		return err
	})
	if err != nil && !target.IsGone(err) {
		return err
	}
	for _, c := range copies {
		u.suspects = append(u.suspects, suspect{id: c.ID, day: u.day, row: true})
	}
	return nil
}
