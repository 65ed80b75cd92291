package verify

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

const (
	// sentryShare is which part of a sample goes through Sentry's own requests:
	// one node of so many.
	sentryShare = 20
	// sliceBytes is what the migration aims at for a slice, with its defaults.
	sliceBytes = 32 << 20
)

// comparePayloads compares the payloads of the day's sample, of its certainty
// strata, and of what was written so late that all of it is compared.
func (p *dayPass) comparePayloads(ctx context.Context) error {
	certain, sample, population := p.strata.draw(p.rate(), sliceBytes)
	p.count(func(d *Day) {
		d.Sample.Population += population
		d.Certain.Population += int64(len(certain))
	})
	payloads := &suspects{Verification: p.Verification, look: p.lookPayloads, count: p.count}
	if err := p.comparePicks(ctx, payloads, picks{p.day, ofCertain, certain}); err != nil {
		return err
	}
	if err := p.comparePicks(ctx, payloads, picks{p.day, ofSample, sample}); err != nil {
		return err
	}
	if late := max(p.from, p.scope.certain); late < p.to && p.result.Present > 0 {
		if err := p.compareLate(ctx, payloads, late); err != nil {
			return err
		}
	}
	return payloads.flush(ctx)
}

// compareLate compares every payload of the day from a timestamp on.
func (p *dayPass) compareLate(ctx context.Context, payloads *suspects, from int64) error {
	pieces := min(p.rows/rowsPerPiece+1, maxUnits)
	width := (p.to-from)/pieces + 1
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.options.Workers)
	for start := from; start < p.to; start += width {
		group.Go(func() error {
			return p.compareRange(ctx, payloads, stretch{p.day, start, min(start+width, p.to), ofCertain})
		})
	}
	return group.Wait()
}

// picks are nodes of one day and stratum.
type picks struct {
	day     node.Day
	stratum stratum
	list    []pick
}

// comparePicks compares nodes that are known by their ids.
func (v *Verification) comparePicks(ctx context.Context, payloads *suspects, p picks) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(v.options.Workers)
	for len(p.list) > 0 {
		n, bytes := 0, int64(0)
		for n < len(p.list) && n < chunkRows && (n == 0 || bytes+p.list[n].bytes <= chunkBytes) {
			bytes += p.list[n].bytes
			n++
		}
		part := picks{p.day, p.stratum, p.list[:n]}
		p.list = p.list[n:]
		group.Go(func() error { return v.newComparer().comparePart(ctx, payloads, part) })
	}
	return group.Wait()
}

// comparePart compares as many nodes as one question is about.
func (c *comparer) comparePart(ctx context.Context, payloads *suspects, p picks) error {
	ids := make([]string, len(p.list))
	for i, one := range p.list {
		ids[i] = one.id
	}
	rows, damaged, err := c.fetch(ctx, ids)
	if err != nil {
		return err
	}
	k := chunk{day: p.day, stratum: p.stratum}
	var found []suspect
	var asSentry int64
	for i, id := range ids {
		r, there := rows[id]
		sound := there && damaged[id] == "" && node.DayOf(r.micros) == p.day
		if sound {
			k.rows = append(k.rows, r)
			k.bytes += len(r.data)
		}
		if sound && i%sentryShare == 0 {
			asSentry++
			if sound, err = c.compareAsSentry(ctx, r); err != nil {
				return err
			}
		}
		if !sound {
			found = append(found, suspect{id: id, day: p.day, micros: p.list[i].micros, stratum: p.stratum})
		}
	}
	more, err := c.compare(ctx, &k)
	if err != nil {
		return err
	}
	payloads.count(func(d *Day) {
		d.stratum(p.stratum).add(Compared{Nodes: int64(len(ids)), Bytes: int64(k.bytes), AsSentry: asSentry})
	})
	return payloads.add(ctx, append(found, more...)...)
}

// stretch is a part of a day of which every payload is compared.
type stretch struct {
	day      node.Day
	from, to int64
	stratum  stratum
}

// compareRange compares every payload of a stretch. One that is cut off in its
// middle, such as by a standby while the target is slow, is read in halves. Where
// the server cannot read some row, it continues row by row.
func (v *Verification) compareRange(ctx context.Context, payloads *suspects, s stretch) error {
	var r reading
	err := v.again(ctx, func() (err error) {
		r, err = v.readRange(ctx, payloads, s)
		if r.cut = r.began && s.to-s.from > 1 && (source.Retryable(err) || source.TooLong(err)); r.cut {
			return nil
		}
		return err
	})
	if r.cut {
		first, second := s, s
		first.to = s.from + (s.to-s.from)/2
		second.from = first.to
		if err := v.compareRange(ctx, payloads, first); err != nil {
			return err
		}
		return v.compareRange(ctx, payloads, second)
	}
	if source.Damaged(err) || source.TooLong(err) {
		return v.compareRows(ctx, payloads, s)
	}
	if err != nil {
		return err
	}
	payloads.count(func(d *Day) { d.stratum(s.stratum).add(r.counted) })
	return payloads.add(ctx, r.found...)
}

// reading is what came of one reading of a stretch.
type reading struct {
	counted Compared
	found   []suspect
	began   bool // rows came
	cut     bool
}

func (v *Verification) readRange(ctx context.Context, payloads *suspects, s stretch) (r reading, err error) {
	c, k := v.newComparer(), &chunk{day: s.day, stratum: s.stratum}
	send := func() error {
		more, n, err := c.compareChunk(ctx, k)
		r.found = append(r.found, more...)
		r.counted.add(n)
		k.rows, k.bytes = k.rows[:0], 0
		if err != nil || len(r.found) < maxSuspects {
			return err
		}
		defer func() { r.found = nil }()
		return payloads.add(ctx, r.found...)
	}
	err = v.Source.Stream(ctx, s.from, s.to, func(n node.Node) error {
		r.began = true
		if v.rejected.has(n.ID, n.Micros) {
			return nil
		}
		k.add(n)
		if !k.full() {
			return nil
		}
		return send()
	})
	if err == nil {
		err = send()
	}
	return r, err
}

// compareChunk compares a chunk, and its first row also as Sentry reads it.
func (c *comparer) compareChunk(ctx context.Context, k *chunk) (found []suspect, counted Compared, err error) {
	if len(k.rows) == 0 {
		return nil, counted, nil
	}
	counted = Compared{Population: int64(len(k.rows)), Nodes: int64(len(k.rows)), Bytes: int64(k.bytes), AsSentry: 1}
	sound, err := c.compareAsSentry(ctx, k.rows[0])
	if err != nil {
		return nil, counted, err
	}
	if found, err = c.compare(ctx, k); err == nil && !sound {
		found = append(found, k.suspect(k.rows[0]))
	}
	return found, counted, err
}

// compareRows compares a stretch whose rows cannot be streamed.
func (v *Verification) compareRows(ctx context.Context, payloads *suspects, s stretch) error {
	var list []pick
	_, err := v.entries(ctx, source.Slice{From: s.from, To: s.to}, func() { list = nil }, func(e source.Entry) error {
		if !v.rejected.has(e.ID, e.Micros) {
			list = append(list, pick{id: string(e.ID), micros: e.Micros, bytes: e.Bytes})
		}
		return nil
	})
	if err != nil {
		return err
	}
	payloads.count(func(d *Day) { d.stratum(s.stratum).Population += int64(len(list)) })
	return v.comparePicks(ctx, payloads, picks{s.day, s.stratum, slices.Clip(list)})
}
