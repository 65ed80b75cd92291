package migrate

import (
	"context"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Origins are those of the source that a checkpoint is bound to: what it is, and
// what it was on other servers.
func Origins(b checkpoint.Binding) target.Origins {
	var origins target.Origins
	for _, s := range append([]checkpoint.Source{b.Source}, b.Earlier...) {
		origins = append(origins, target.Origin{System: s.System, Database: s.Database, Table: s.Table, Region: s.Region})
	}
	return origins
}

// Sighting is what both sides have of a sealed day.
type Sighting struct {
	Day       string
	Rows      int64 // at the source
	Rejected  int64 // of them, by the checkpoint
	Documents int64 // in the day's index
	Agree     bool  // the numbers do, and the sums of timestamps if nothing was rejected
}

// maxSightings is enough to tell the data of one server from that of another.
const maxSightings = 3

// Sight looks at some sealed days on both sides: the oldest, the newest and one
// between. It tells whether a source on another server has the same data.
func Sight(ctx context.Context, from *source.Source, to *target.Target, state checkpoint.State) (seen []Sighting, err error) {
	var sealed []string
	for name, d := range state.Days {
		if !d.Sealed.IsZero() && d.Dropped.IsZero() && d.Lost.IsZero() && d.Index != "" {
			sealed = append(sealed, name)
		}
	}
	slices.Sort(sealed)
	if len(sealed) > maxSightings {
		sealed = []string{sealed[0], sealed[len(sealed)/2], sealed[len(sealed)-1]}
	}
	for _, name := range sealed {
		day, err := node.ParseDay(name)
		if err != nil {
			return nil, err
		}
		s := Sighting{Day: name, Rejected: state.Days[name].Fates[node.Rejected]}
		rows, err := from.Moments(ctx, day.Start(), day.End())
		if err != nil {
			return nil, err
		}
		documents, err := to.Moments(ctx, state.Days[name].Index, day.Start()/1000, day.End()/1000)
		if err != nil && !target.IsGone(err) {
			return nil, err
		}
		same := true
		for at, r := range rows {
			s.Rows += r.Count
			d := documents[at/1000]
			same = same && r.Count == d.Count && r.Sum == d.Sum
		}
		for _, d := range documents {
			s.Documents += d.Count
		}
		s.Agree = s.Rows-s.Rejected == s.Documents && (same || s.Rejected > 0)
		seen = append(seen, s)
	}
	return seen, nil
}
