package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Recognise finds out whether a source is the one of a checkpoint, and returns what the
// checkpoint is to be bound to. A source on another server, or under another name, is a
// *MovedError, unless the claim is that it moved and some days show the same data.
// Any other difference is left to checkpoint.Open, which refuses it.
func Recognise(ctx context.Context, parts Parts, state checkpoint.State, claim checkpoint.Binding) (checkpoint.Binding, error) {
	moved, now, confirmed := claim, claim, claim.Moved
	now.Moved = false
	moved.Moved = true
	_, err := state.Binding.Accept(now)
	if _, otherwise := state.Binding.Accept(moved); err == nil || otherwise != nil {
		//lint:ignore nilerr opening the checkpoint says it
		return now, nil
	}
	seen, err := sight(ctx, parts.Source, parts.Target, state)
	if err != nil {
		return now, fmt.Errorf("compare the source with what was copied from another server: %w", err)
	}
	agree := len(seen) == 0 || slices.ContainsFunc(seen, func(s sighting) bool { return s.agree })
	if agree && confirmed {
		return moved, nil
	}
	server, _, _ := strings.Cut(parts.Source.Relation().ServerText, " on ")
	return now, &MovedError{Agree: agree, before: state.Binding.Source, now: now.Source, server: server, seen: seen}
}

// MovedError means that a checkpoint is bound to a source on another server, or under
// another name. Its text says what changed, what did not, and what both have.
type MovedError struct {
	Agree       bool // a day does, or none is sealed: it may be the same data
	before, now node.Origin
	server      string
	seen        []sighting
}

func (e *MovedError) Error() string {
	var changed, same, unknown []string
	for _, f := range [][3]string{
		{"system identifier", e.before.System, e.now.System}, {"database", e.before.Database, e.now.Database}, {"table", e.before.Table, e.now.Table},
	} {
		switch f[2] {
		case f[1]:
			same = append(same, f[0]+" "+f[1])
		case "":
			unknown = append(unknown, f[0])
		default:
			changed = append(changed, fmt.Sprintf("%s %s, now %s", f[0], f[1], f[2]))
		}
	}
	text := "the checkpoint is bound to another source: changed: " + strings.Join(changed, "; ") + " (" + e.server + ")"
	if len(same) > 0 {
		text += "; not changed: " + strings.Join(same, ", ")
	}
	if len(unknown) > 0 {
		text += "; not known now: " + strings.Join(unknown, ", ")
	}
	for _, s := range e.seen {
		text += "; " + s.String()
	}
	return text
}

// sighting is what both sides have of a sealed day.
type sighting struct {
	day       string
	rows      int64 // at the source
	rejected  int64 // of them, by the checkpoint
	documents int64 // in the day's index
	agree     bool  // the numbers do, and the sums of timestamps if nothing was rejected
}

func (s sighting) String() string {
	agree := "differs"
	if s.agree {
		agree = "agrees"
	}
	return fmt.Sprintf("day %s %s: %s rows, %s of them rejected, %s documents",
		s.day, agree, amount.Count(s.rows), amount.Count(s.rejected), amount.Count(s.documents))
}

// maxSightings is enough to tell the data of one server from that of another.
const maxSightings = 3

// sight looks at some sealed days on both sides: the oldest, the newest and one
// between. It tells whether a source on another server has the same data.
func sight(ctx context.Context, from *source.Source, to *target.Target, state checkpoint.State) (seen []sighting, err error) {
	var sealed []string
	for name, d := range state.Days {
		if d.Stands() {
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
		s := sighting{day: name, rejected: state.Days[name].Fates[node.Rejected]}
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
			s.rows += r.Count
			d := documents[at/1000]
			same = same && r.Count == d.Count && r.Sum == d.Sum
		}
		for _, d := range documents {
			s.documents += d.Count
		}
		s.agree = s.rows-s.rejected == s.documents && (same || s.rejected > 0)
		seen = append(seen, s)
	}
	return seen, nil
}
