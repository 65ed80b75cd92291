package verify

import (
	"context"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
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

// payloads compares payloads of a day, all for the same reason.
type payloads struct {
	*run
	day      node.Day
	stratum  stratum
	suspects *suspects
}

// compareSample compares the payloads of the day's sample, of its certainty
// strata, and of what was written so late that all of it is compared.
func (c *dayComparison) compareSample(ctx context.Context) error {
	if c.Level != Sample {
		return nil
	}
	certainly, drawn, population := c.strata.draw(c.rate, sliceBytes)
	c.counted.change(func(d *Day) {
		d.Sample.Population += population
		d.Certain.Population += int64(len(certainly))
	})
	queue := &suspects{run: c.run, judge: judge{c.run}.byPayloads, counted: c.counted}
	certain, sample := &payloads{c.run, c.day, ofCertain, queue}, &payloads{c.run, c.day, ofSample, queue}
	if err := certain.comparePicks(ctx, certainly); err != nil {
		return err
	}
	if err := sample.comparePicks(ctx, drawn); err != nil {
		return err
	}
	if late := max(c.from, c.certain); late < c.to && c.counted.day.Present > 0 {
		parts := c.cut(checkpoint.Range{From: late, To: c.to}, rowsPerPart, maxParts)
		if err := each(ctx, c.Workers, parts, certain.comparePart); err != nil {
			return err
		}
	}
	return queue.flush(ctx)
}

// comparePicks compares nodes that are known by their ids.
func (p *payloads) comparePicks(ctx context.Context, list []pick) error {
	var questions [][]pick
	for len(list) > 0 {
		n, bytes := 0, int64(0)
		for n < len(list) && n < rowsAtOnce && (n == 0 || bytes+list[n].bytes <= bytesAtOnce) {
			bytes += list[n].bytes
			n++
		}
		questions, list = append(questions, list[:n]), list[n:]
	}
	return each(ctx, p.Workers, questions, func(ctx context.Context, list []pick) error {
		return p.whenCalm(ctx, func() error { return p.compareByID(ctx, list) })
	})
}

// compareByID compares as many nodes as one question is about.
func (p *payloads) compareByID(ctx context.Context, list []pick) error {
	ids := make([]string, len(list))
	for i, one := range list {
		ids[i] = one.id
	}
	rows, damaged, err := p.fetch(ctx, ids, nil)
	if err != nil {
		return err
	}
	var b batch
	var found []suspect
	for _, one := range list {
		if r, there := rows[one.id]; there && damaged[one.id] == "" && node.DayOf(r.Micros) == p.day {
			b.add(r)
		} else {
			found = append(found, suspect{id: one.id, day: p.day, micros: one.micros, stratum: p.stratum})
		}
	}
	unsound, counted, err := newComparer(p.run).compare(ctx, p.day, &b, sentryShare)
	if err != nil {
		return err
	}
	counted.Population, counted.Nodes = 0, int64(len(ids)) // the population is known by the draw
	p.suspects.counted.change(func(d *Day) { d.stratum(p.stratum).add(counted) })
	return p.suspects.add(ctx, append(found, p.suspected(unsound)...)...)
}

func (p *payloads) suspected(rows []node.Node) []suspect {
	found := make([]suspect, len(rows))
	for i, r := range rows {
		found[i] = suspect{id: string(r.ID), day: p.day, micros: r.Micros, stratum: p.stratum}
	}
	return found
}

// comparePart compares every payload of a part of the day. One that is cut off in
// its middle, such as by a standby while the target is slow, is read in halves.
// Where the server cannot read some row, it continues row by row.
func (p *payloads) comparePart(ctx context.Context, part checkpoint.Range) error {
	var s stream
	cut := false
	err := p.whenCalm(ctx, func() error {
		return p.ask(ctx, func() error {
			s = stream{payloads: p}
			err := s.compare(ctx, part)
			if cut = s.began && part.To-part.From > 1 && (source.Retryable(err) || source.TooLong(err)); cut {
				return nil
			}
			return err
		})
	})
	switch {
	case cut:
		middle := part.From + (part.To-part.From)/2
		if err := p.comparePart(ctx, checkpoint.Range{From: part.From, To: middle}); err != nil {
			return err
		}
		return p.comparePart(ctx, checkpoint.Range{From: middle, To: part.To})
	case source.Damaged(err), source.TooLong(err):
		return p.compareRowByRow(ctx, part)
	case err != nil:
		return err
	}
	p.suspects.counted.change(func(d *Day) { d.stratum(p.stratum).add(s.counted) })
	return p.suspects.add(ctx, s.found...)
}

// stream is one reading of a part. It counts apart from others, so that one that
// broke off leaves nothing behind.
type stream struct {
	*payloads
	counted Compared
	found   []suspect
	began   bool // rows came
}

func (s *stream) compare(ctx context.Context, part checkpoint.Range) error {
	c, b := newComparer(s.run), &batch{}
	compare := func() error {
		unsound, n, err := c.compare(ctx, s.day, b, rowsAtOnce)
		s.found = append(s.found, s.suspected(unsound)...)
		s.counted.add(n)
		*b = batch{rows: b.rows[:0]}
		if err != nil || len(s.found) < maxSuspects {
			return err
		}
		found := s.found
		s.found = nil
		return s.suspects.add(ctx, found...)
	}
	err := s.source.Stream(ctx, part.From, part.To, func(n node.Node) error {
		s.began = true
		if s.rejected.has(n.ID, n.Micros) {
			return nil
		}
		if b.add(clone(n)); !b.full() {
			return nil
		}
		return compare()
	})
	if err != nil {
		return err
	}
	return compare()
}

// compareRowByRow compares a part whose rows cannot be streamed.
func (p *payloads) compareRowByRow(ctx context.Context, part checkpoint.Range) error {
	var list []pick
	_, err := p.entries(ctx, part, func() { list = nil }, func(e source.Entry) error {
		if !p.rejected.has(e.ID, e.Micros) {
			list = append(list, pick{id: string(e.ID), micros: e.Micros, bytes: e.Bytes})
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.suspects.counted.change(func(d *Day) { d.stratum(p.stratum).Population += int64(len(list)) })
	return p.comparePicks(ctx, list)
}
