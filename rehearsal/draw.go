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

// Amount is how much there is of something.
type Amount struct {
	Days   int   `json:"days"`
	Slices int   `json:"slices,omitempty"`
	Rows   int64 `json:"rows"`
	Bytes  int64 `json:"bytes"` // of data
}

// sample is what was drawn of a table.
type sample struct {
	total  Amount
	slices []drawnSlice // by time
}

type drawnSlice struct {
	day node.Day
	source.Slice
}

func (s sample) sources() []source.Slice {
	list := make([]source.Slice, len(s.slices))
	for i, one := range s.slices {
		list[i] = one.Slice
	}
	return list
}

func (s sample) size() (a Amount) {
	for i, one := range s.slices {
		if i == 0 || one.day != s.slices[i-1].day {
			a.Days++
		}
		a.Slices++
		a.Rows += one.Rows
		a.Bytes += one.Bytes
	}
	return a
}

// draw draws slices in two steps, both systematic: from a random start in equal
// steps through the bytes. So each byte of the table is as likely as any other, and
// old and new days, quiet and busy ones, have their share.
//
//  1. Days, by their estimated sizes.
//  2. Slices of each of these days, by their measured sizes.
func draw(ctx context.Context, config Config) (drawn sample, err error) {
	days, err := daysOf(ctx, config)
	if err != nil {
		return drawn, err
	}
	for _, d := range days {
		drawn.total.Days++
		drawn.total.Rows += max(d.Rows, 0)
		drawn.total.Bytes += d.Bytes
	}
	wanted := max(int64(config.Share*float64(drawn.total.Bytes)), 1)
	count := min(maxDays, len(days))
	rng := rand.New(rand.NewPCG(config.Seed, uint64(drawn.total.Days)))
	sizes := make([]int64, len(days))
	for i, d := range days {
		sizes[i] = max(d.Bytes, 1)
	}
	for _, i := range systematic(rng, sizes, count) {
		some, err := drawOf(ctx, config, rng, days[i].Day, wanted/int64(count))
		if err != nil {
			return drawn, err
		}
		drawn.slices = append(drawn.slices, some...)
	}
	if len(drawn.slices) == 0 {
		return drawn, hint.Add(fmt.Errorf("draw %g %% of the table: the days that were drawn have no rows any more", 100*config.Share), "ANALYZE the table, and rehearse a larger share")
	}
	return drawn, nil
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

// drawOf draws slices of a day of about so many bytes.
func drawOf(ctx context.Context, config Config, rng *rand.Rand, day node.Day, wanted int64) (drawn []drawnSlice, err error) {
	measured, err := config.Source.Slices(ctx, day.Start(), day.End(), max(min(sliceBytes, wanted), 1))
	if err != nil {
		return nil, fmt.Errorf("cut day %s: %w", day, err)
	}
	measured = slices.DeleteFunc(measured, func(s source.Slice) bool { return s.Rows == 0 })
	var total int64
	sizes := make([]int64, len(measured))
	for i, s := range measured {
		sizes[i] = max(s.Bytes, 1)
		total += sizes[i]
	}
	if len(measured) == 0 {
		return nil, nil
	}
	count := min(max(int(wanted*int64(len(measured))/total), 1), len(measured))
	for _, i := range systematic(rng, sizes, count) {
		drawn = append(drawn, drawnSlice{day, measured[i]})
	}
	return drawn, nil
}

// systematic draws so many places in equal steps through sizes, from a random start,
// and returns the indices of what they fall on, each once.
func systematic(rng *rand.Rand, sizes []int64, count int) (found []int) {
	ends := make([]float64, len(sizes))
	total := 0.0
	for i, size := range sizes {
		total += float64(size)
		ends[i] = total
	}
	step := total / float64(count)
	for at := step * rng.Float64(); at < total; at += step {
		i := min(sort.SearchFloat64s(ends, at), len(sizes)-1)
		if len(found) == 0 || found[len(found)-1] != i {
			found = append(found, i)
		}
	}
	return found
}
