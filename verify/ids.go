package verify

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/source"
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
	behind   bool // its index is behind the alias
	suspects *suspects

	mu     sync.Mutex
	strata *strata
	result Day
}

func (v *Verification) newDayPass(d scopeDay) *dayPass {
	name := v.Target.Backend().IndexOf(d.day)
	holding, behind := v.scope.indices[name]
	p := &dayPass{
		Verification: v, scopeDay: d, index: name, behind: behind,
	}
	p.strata = p.newStrata()
	p.result = Day{Day: d.day.String(), Index: name, Ours: v.scope.ours(holding), TargetBytes: holding.Bytes, All: v.compared[d.day]}
	p.result.Print = v.scope.print(name)
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
	begin := func() { u = &unit{dayPass: p, strata: p.newStrata()} }
	_, err := p.entries(ctx, source.Slice{From: from, To: to}, begin, func(e source.Entry) error { return u.add(ctx, e) })
	if err != nil {
		return err
	}
	if err := u.ask(ctx); err != nil {
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
	u.result.Moments += uint64(e.Micros)
	u.result.SourceBytes += e.Bytes
	u.result.Sizes[sizeClass(e.Bytes)]++
	if u.rejected.has(e.ID, e.Micros) {
		u.result.Rejected++
		return nil
	}
	u.batch = append(u.batch, pick{string(e.ID), e.Micros, e.Bytes, drawOrder(u.seed, e.ID)})
	if len(u.batch) < idsAtOnce {
		return nil
	}
	return u.ask(ctx)
}

// ask asks where the batch is behind the alias.
func (u *unit) ask(ctx context.Context) error {
	defer func() { u.batch = u.batch[:0] }()
	if err := u.halve(ctx, u.batch); err != nil {
		return err
	}
	u.meter.add(int64(len(u.batch)), 0)
	if len(u.suspects) < maxSuspects {
		return nil
	}
	defer func() { u.suspects = nil }()
	return u.dayPass.suspects.add(ctx, u.suspects...)
}

// halve asks how often the day's index and all behind the alias have nodes: if
// both have as many as are asked for, each is there once and nowhere else. Where
// that is not so, it continues with either half, down to single nodes. A day's
// index that is not behind the alias shows nothing.
func (u *unit) halve(ctx context.Context, batch []pick) error {
	ids := u.ids(batch)
	if len(ids) == 0 {
		return nil
	}
	var own, behind int64
	err := u.again(ctx, func() (err error) { own, behind, err = u.Target.Seen(ctx, u.index, ids); return err })
	switch n := int64(len(ids)); {
	case err != nil:
		return err
	case own == n && behind == n:
		u.present(batch)
		return nil
	case n == 1 && own > 0:
		u.present(batch)
		u.suspect(batch)
		return nil
	case n == 1, behind == 0:
		u.suspect(batch)
		return nil
	}
	middle := len(batch) / 2
	if err := u.halve(ctx, batch[:middle]); err != nil {
		return err
	}
	return u.halve(ctx, batch[middle:])
}

// present counts nodes that the day's index has.
func (u *unit) present(batch []pick) {
	for _, p := range batch {
		u.strata.offer(p)
	}
	u.result.Present += int64(len(batch))
}

func (u *unit) suspect(batch []pick) {
	for _, p := range batch {
		u.suspects = append(u.suspects, suspect{id: p.id, day: u.day, micros: p.micros})
	}
}

// ids returns the ids of a batch, each once: a view can have one twice, and so
// can a table whose primary key is damaged.
func (u *unit) ids(batch []pick) []string {
	ids := make([]string, 0, len(batch))
	known := make(map[string]bool, len(batch))
	for _, p := range batch {
		if !known[p.id] {
			known[p.id] = true
			ids = append(ids, p.id)
		}
	}
	return ids
}
