package rehearsal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// maxDays bounds how many days are drawn: all rows of each are looked at, though not
// their payloads, to cut it into slices. Their differences make the intervals.
const maxDays = 40

// sliceBytes is about what a slice of the migration has, with its defaults. Where less
// is wanted of each day, slices are smaller.
const sliceBytes = 4 * migrate.DefaultBatchBytes

// minuteOf a day's bytes is the least that a slice aims at: finer ones would have each
// minute of the day looked at by the second, and by less.
const minuteOf = 24 * 60

// Amount is how much there is of something.
type Amount struct {
	Days   int   `json:"days"`
	Slices int   `json:"slices,omitempty"`
	Rows   int64 `json:"rows"`
	Bytes  int64 `json:"bytes"` // of data
}

// sample is what was drawn of a table.
type sample struct {
	days []drawnDay // by time
	of   int        // days that there are
	hits int        // of the draw of days; 0 where all are in it
}

// drawnDay is a day with the slices that were drawn of it.
type drawnDay struct {
	node.Day
	hits   int     // how often the draw of days fell on it
	factor float64 // how many such days of the table it stands for
	rows   int64   // of all of it, counted
	size   int64   // of all of it, as sizeOf has it
	slices []source.Slice
}

// sizeOf is what a slice weighs in the draw: its bytes, where rows without any weigh
// one each.
func sizeOf(all ...source.Slice) (size int64) {
	for _, s := range all {
		size += max(s.Bytes, s.Rows)
	}
	return size
}

// stands is the size of all that a day stands for.
func (d drawnDay) stands() float64 { return d.factor * float64(d.size) }

// bySize is how many times as much a day stands for as was drawn of it.
func (d drawnDay) bySize() float64 { return d.stands() / float64(sizeOf(d.slices...)) }

// byRows is the same in rows: what is counted by the row has little to do with bytes.
func (d drawnDay) byRows() float64 {
	var rows int64
	for _, s := range d.slices {
		rows += s.Rows
	}
	return d.factor * float64(d.rows) / float64(rows)
}

func (s sample) slices() (list []source.Slice) {
	for _, d := range s.days {
		list = append(list, d.slices...)
	}
	return list
}

// drawn is what the sample has.
func (s sample) drawn() (a Amount) {
	a.Days = len(s.days)
	for _, one := range s.slices() {
		a.Slices++
		a.Rows += one.Rows
		a.Bytes += one.Bytes
	}
	return a
}

// total is about how much the table has.
func (s sample) total() Amount {
	var rows, size float64
	for _, d := range s.days {
		rows, size = rows+d.factor*float64(d.rows), size+d.stands()
	}
	return Amount{Days: s.of, Rows: int64(rows + 0.5), Bytes: int64(size + 0.5)}
}

// draw draws slices in two steps, both systematic: from a random start in equal
// steps through the sizes. So each byte of the table is as likely as any other, and
// old and new days, quiet and busy ones, have their share.
//
//  1. Days, by their estimated sizes; all of them, if they are few.
//  2. Slices of each of these days, by their measured sizes.
//
// Estimates only say which days are likely: what a table comes to is reckoned from
// what was counted, because the planner's sizes have the room of dead rows in them.
func draw(ctx context.Context, config Config) (drawn sample, err error) {
	days, err := daysOf(ctx, config)
	if err != nil {
		return drawn, err
	}
	drawn.of = len(days)
	rng := rand.New(rand.NewPCG(config.Seed, 0))
	some, estimates := drawDays(rng, days)
	for i, d := range some {
		drawn.hits += d.hits
		if err := d.draw(ctx, config, rng, estimates[i]); err != nil {
			return drawn, err
		}
		if len(d.slices) > 0 {
			drawn.days = append(drawn.days, d)
		}
	}
	if len(drawn.days) == 0 {
		return drawn, hint.Add(fmt.Errorf("draw %g %% of the table: the days that were drawn have no rows any more", 100*config.Share), "ANALYZE the table, and rehearse a larger share")
	}
	return drawn, nil
}

// drawDays returns days, with their estimated sizes.
func drawDays(rng *rand.Rand, days []source.DaySize) (drawn []drawnDay, estimates []int64) {
	sizes, total := make([]int64, len(days)), 0.0
	for i, d := range days {
		sizes[i] = max(d.Bytes, 1)
		total += float64(sizes[i])
	}
	if len(days) <= maxDays {
		for _, d := range days {
			drawn = append(drawn, drawnDay{Day: d.Day, factor: 1})
		}
		return drawn, sizes
	}
	for _, i := range systematic(rng, sizes, maxDays) {
		if last := len(drawn) - 1; last < 0 || drawn[last].Day != days[i].Day {
			drawn, estimates = append(drawn, drawnDay{Day: days[i].Day}), append(estimates, sizes[i])
		}
		last := &drawn[len(drawn)-1]
		last.hits++
		last.factor = float64(last.hits) * total / maxDays / float64(sizes[i])
	}
	return drawn, estimates
}

// daysOf are the days that a migration would copy, without those that Sentry may still
// write to.
func daysOf(ctx context.Context, config Config) ([]source.DaySize, error) {
	now, err := config.Source.Now(ctx)
	if err != nil {
		return nil, err
	}
	o := config.Options
	overlap := o.Overlap
	if overlap == 0 {
		overlap = migrate.DefaultOverlap
	}
	until := node.DayOf(now - overlap.Microseconds())
	since := o.Since
	if o.Retention > 0 {
		since = max(since, node.DayOf(now-int64(o.Retention)*(24*time.Hour).Microseconds()))
	}
	if o.Until != 0 {
		until = min(until, o.Until)
	}
	days, err := config.Source.Days(ctx, since.Start(), until.Start())
	if err != nil {
		return nil, err
	}
	days = slices.DeleteFunc(days, func(d source.DaySize) bool { return d.Unreadable != nil })
	if len(days) == 0 {
		return nil, hint.Add(fmt.Errorf("draw a share of the table: it has no rows of days before %s that are to be copied", until), "nodestore-migrate plan says which days there are")
	}
	return days, nil
}

// draw draws slices of a day, so many that all that it stands for has its share.
func (d *drawnDay) draw(ctx context.Context, config Config, rng *rand.Rand, estimate int64) error {
	share := config.Share * d.factor
	measured, err := cut(ctx, config.Source, d.Day, estimate, share)
	if size := sizeOf(measured...); err == nil && size < estimate/2 { // the slices would be too large
		measured, err = cut(ctx, config.Source, d.Day, size, share)
	}
	if err == nil && len(measured) > 0 {
		d.choose(rng, share, measured)
	}
	return err
}

// choose draws a share of the slices of a day, at least one.
func (d *drawnDay) choose(rng *rand.Rand, share float64, measured []source.Slice) {
	sizes := make([]int64, len(measured))
	for i, s := range measured {
		sizes[i] = sizeOf(s)
		d.rows += s.Rows
	}
	d.size = sizeOf(measured...)
	count := min(max(int(share*float64(len(measured))+0.5), 1), len(measured))
	for _, i := range slices.Compact(systematic(rng, sizes, count)) {
		d.slices = append(d.slices, measured[i])
	}
}

// cut divides a day of about that size into slices, of which about one has the share
// that is wanted, or several if it is large.
func cut(ctx context.Context, from *source.Source, day node.Day, size int64, share float64) ([]source.Slice, error) {
	aim := max(min(int64(share*float64(size)), sliceBytes), size/minuteOf, 1)
	measured, err := from.Slices(ctx, day.Start(), day.End(), aim)
	if err != nil {
		return nil, fmt.Errorf("cut day %s: %w", day, err)
	}
	return slices.DeleteFunc(measured, func(s source.Slice) bool { return s.Rows == 0 }), nil
}

// systematic draws so many places in equal steps through sizes, from a random start,
// and returns the indices of what they fall on, in order. One can come several times.
func systematic(rng *rand.Rand, sizes []int64, count int) (found []int) {
	ends := make([]float64, len(sizes))
	total := 0.0
	for i, size := range sizes {
		total += float64(size)
		ends[i] = total
	}
	step, start := total/float64(count), rng.Float64()
	for n := range count {
		found = append(found, min(sort.SearchFloat64s(ends, step*(start+float64(n))), len(sizes)-1))
	}
	return found
}
