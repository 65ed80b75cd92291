package migrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// mendDay makes the two sides of a day agree.
func (c *comparison) mendDay(ctx context.Context, s sides) error {
	if len(s.minutes) == 0 {
		return nil
	}
	d := c.newDay(s.day, c.now)
	d.know(s.index)
	recorded, _ := c.ledger.day(s.day)
	f := recorded.Fates
	left := &mending{
		day: d, emptied: c.emptied(s), rows: make(map[string]int64),
		uncounted: max(s.rows-f[node.Stored]-f[node.AlreadyThere]-f[node.Rejected], 0),
	}
	for _, at := range s.minutes {
		if c.stopped() {
			return ErrInterrupted
		}
		if err := c.mendRange(ctx, left, at, min(at+minute, s.until)); err != nil {
			return err
		}
	}
	if err := c.mend(ctx, left); err != nil {
		return err
	}
	c.progress.missing.Add(left.missing)
	c.tellLeft(left)
	return nil
}

// mending is what differs on the two sides of a day, and what is left as it is.
type mending struct {
	day     *day
	emptied bool
	rows    map[string]int64 // timestamps of rows that have no document of their time
	extra   []target.Copy    // documents that have no row of their time

	rejected map[key]Rejected // nodes of the day that are retried

	uncounted   int64 // rows that have no fate yet: they were committed late
	missing     int64 // rows that are left without a document
	kept        int64 // documents of an emptied day
	unexplained int64 // other documents without a row, perhaps Sentry's
}

func (c *comparison) tellLeft(left *mending) {
	name, day := left.day.name(), left.day.day
	tell := func(kind Kind, n int64, format string, values ...any) {
		if n > 0 {
			c.Notify(Event{Kind: kind, Day: day.String(), Index: name, Nodes: n, Cause: fmt.Sprintf(format, values...)})
		}
	}
	tell(Missing, left.missing, "%d rows of day %s have no document: Sentry deleted them since the switch, or they were committed late", left.missing, day)
	tell(Kept, left.kept, "day %s has no rows any more: its %d documents stay", day, left.kept)
	tell(Unexplained, left.unexplained, "index %s holds %d documents without a row: deleted at the source, or written by Sentry, if it writes to OpenSearch already; "+
		"nothing was removed", name, left.unexplained)
}

// maxMended bounds what is in memory of a day, unless more has one millisecond.
const maxMended = 50_000

// mendRange compares ids in a short time, in halves of it if there are many.
func (c *comparison) mendRange(ctx context.Context, left *mending, from, to int64) error {
	rows, err := c.source.Count(ctx, from, to)
	if err != nil {
		return err
	}
	if rows > maxMended && to-from > 1000 {
		middle := wholeMillis(from + (to-from)/2)
		if err := c.mendRange(ctx, left, from, middle); err != nil {
			return err
		}
		return c.mendRange(ctx, left, middle, to)
	}
	if int64(len(left.rows)+len(left.extra))+rows > maxMended {
		if err := c.mend(ctx, left); err != nil {
			return err
		}
	}
	here := make(map[string]int64, rows)
	err = c.source.Keys(ctx, from, to, func(id []byte, micros int64) error {
		keepNewest(here, string(id), micros)
		return nil
	})
	if err != nil {
		return err
	}
	err = c.target.Between(ctx, left.day.name(), from/1000, to/1000, func(copies []target.Copy) error {
		for _, doc := range copies {
			switch micros, ok := here[doc.ID]; {
			case !ok:
				left.extra = append(left.extra, doc)
			case node.Millis(micros) == doc.Millis:
				delete(here, doc.ID)
			}
		}
		return nil
	})
	for id, micros := range here {
		keepNewest(left.rows, id, micros)
	}
	return err
}

// mend decides about the rows, then about the documents that were gathered.
func (c *comparison) mend(ctx context.Context, left *mending) error {
	if err := c.mendRows(ctx, left); err != nil {
		return err
	}
	if err := c.mendDocuments(ctx, left); err != nil {
		return err
	}
	clear(left.rows)
	left.extra = left.extra[:0]
	return nil
}

// mendDocuments decides about documents that have no row at their time. With a
// row at another time they are stale, once that one's document is there.
// Without any row they have vanished.
func (c *comparison) mendDocuments(ctx context.Context, left *mending) error {
	for some := range slices.Chunk(left.extra, portion) {
		located, err := c.newest(ctx, idsOf(some))
		if err != nil {
			return err
		}
		moved := make(map[node.Day][]string)
		var vanished []target.Copy
		for _, doc := range some {
			micros, ok := located[doc.ID]
			switch {
			case ok:
				moved[node.DayOf(micros)] = append(moved[node.DayOf(micros)], doc.ID)
			case !c.mirrors() || c.writtenBySentry(doc):
			case left.emptied:
				left.kept++
			case c.writtenByUs(left.day.index, doc):
				vanished = append(vanished, doc)
			case c.SwitchedAt == 0:
				left.unexplained++
			}
		}
		for n, ids := range moved {
			if err := c.stale.sweepIDs(ctx, c.target.Backend().IndexOf(n), ids); err != nil {
				return err
			}
		}
		if err := c.stale.remove(ctx, vanished, node.Vanished); err != nil {
			return err
		}
	}
	return nil
}

// mendRows decides about rows that have no document of their time, by id with
// their timestamp.
//
//  1. What is rejected stays so, and the older row of an id that has several is
//     superseded.
//  2. A row is copied. A newer document of the same index, which a clock that
//     was ahead has left, gives way to it.
//  3. After the switch, a row without any document may be one that Sentry deleted.
func (c *comparison) mendRows(ctx context.Context, left *mending) error {
	var keys []key
	for id, micros := range left.rows {
		refused, err := c.ledger.rejects.has(ctx, []byte(id), micros)
		if err != nil {
			return err
		}
		if !refused {
			keys = append(keys, key{id, micros})
		}
	}
	for some := range slices.Chunk(keys, portion) {
		if err := c.mendPortion(ctx, left, some); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) mendPortion(ctx context.Context, left *mending, keys []key) error {
	d, ids := left.day, make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.id
	}
	located, err := c.newest(ctx, ids)
	if err != nil {
		return err
	}
	copies, err := c.target.Copies(ctx, c.target.Backend().Alias, ids)
	if err != nil {
		return err
	}
	there := make(map[string][]target.Copy)
	for _, doc := range copies {
		there[doc.ID] = append(there[doc.ID], doc)
	}
	var late []key
	newer := make(map[key]target.Copy)
	for _, k := range keys {
		found := there[k.id]
		own := slices.IndexFunc(found, func(doc target.Copy) bool { return doc.Index == d.name() && doc.Millis > node.Millis(k.micros) })
		switch {
		case supersededBy(located, k) || slices.ContainsFunc(found, c.writtenBySentry):
		case len(found) == 0 && c.SwitchedAt != 0 && !c.CopyMissing && left.rejected == nil:
			left.missing++
		case own < 0:
			late = append(late, k)
		case c.mirrors() && c.writtenByUs(d.index, found[own]) || c.ledger.marked(found[own]):
			newer[k] = found[own]
		default:
			left.unexplained++
		}
	}
	if len(newer) > 0 {
		if err := d.replace(ctx, newer, left.uncounted); err != nil {
			return err
		}
	}
	left.uncounted = max(left.uncounted-int64(len(newer)), 0)
	if len(late) == 0 {
		return nil
	}
	kind := Late
	if left.rejected != nil {
		kind = Retried
	}
	c.Notify(Event{Kind: kind, Day: d.day.String(), Index: d.name(), Nodes: int64(len(late))})
	s := singles{day: d, keys: late, uncounted: left.uncounted, rejected: left.rejected, send: d.write}
	if err := s.make(ctx, c.now); err != nil {
		return err
	}
	left.uncounted = max(left.uncounted-int64(len(late)), 0)
	return c.stale.sweepIDs(ctx, d.name(), ids)
}

// supersededBy reports whether an id has a newer row.
func supersededBy(located map[string]int64, k key) bool {
	micros, ok := located[k.id]
	return ok && micros > k.micros
}
