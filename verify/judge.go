package verify

import (
	"context"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// judge says what became of suspects, by what both sides have of them now.
type judge struct{ *run }

// byIDs judges suspects by their ids and timestamps.
func (j judge) byIDs(ctx context.Context, list []suspect) ([]judgement, error) {
	copies, err := j.copies(ctx, j.target.Backend().Alias, idsOf(list))
	if err != nil {
		return nil, err
	}
	rows, err := j.newest(ctx, list, copies)
	if err != nil {
		return nil, err
	}
	judgements := make([]judgement, len(list))
	for i, s := range list {
		micros, there := rows[s.id]
		judgements[i] = j.byRow(s, micros, there, copies[s.id])
	}
	return judgements, j.besideAlias(ctx, judgements)
}

// newest returns the latest timestamp of each suspect's rows. An index of the ids
// may be damaged, so that it lacks a row: where it does not confirm the row that
// was seen before, or the version of the document, that time is read again.
func (j judge) newest(ctx context.Context, list []suspect, copies map[string][]target.Copy) (map[string]int64, error) {
	rows := make(map[string]int64, len(list))
	keep := func(id []byte, micros int64) error {
		if known, ok := rows[string(id)]; !ok || micros > known {
			rows[string(id)] = micros
		}
		return nil
	}
	ids := idsOf(list)
	if err := j.ask(ctx, func() error { return j.source.Locate(ctx, ids, keep) }); err != nil {
		return nil, err
	}
	unsure := make(map[int64][]string) // ids by the minute to look at
	look := func(at int64, id string) {
		start := at - modulo(at, minuteMicros)
		unsure[start] = append(unsure[start], id)
	}
	for _, s := range list {
		micros, ok := rows[s.id]
		if s.micros != documentOnly && s.micros != 0 && (!ok || micros != s.micros) {
			look(s.micros, s.id)
		}
		for _, c := range copies[s.id] {
			if ok && c.Millis > node.Millis(micros) && !j.sentrys(s.id, c.Millis) {
				look(c.Millis*1000, s.id)
			}
		}
	}
	for start, ids := range unsure {
		err := j.ask(ctx, func() error { return j.source.LocateBetween(ctx, ids, start, start+minuteMicros, keep) })
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// byRow says what an id's latest row and its documents behind the alias mean. What
// Sentry wrote after the switch is right wherever it is. A row that the last pass
// of the migration did not know is not a finding, whatever its document is like.
func (j judge) byRow(s suspect, micros int64, there bool, copies []target.Copy) judgement {
	result := judgement{micros: micros, there: there}
	f, own, rejected := Finding{ID: s.id, Day: s.day.String()}, false, false
	if len(copies) == 1 {
		own = j.sentrys(s.id, copies[0].Millis)
	}
	if there {
		f.Day, rejected = node.DayOf(micros).String(), j.rejected.has([]byte(s.id), micros)
	}
	switch {
	case !there && (s.micros != documentOnly || len(copies) == 0):
		result.outcome = vanished
		return result
	case !there && own, there && own && copies[0].Millis != node.Millis(micros), rejected && len(copies) == 0:
		return result
	case !there:
		f.Class, f.Known = Extra, "a document, but no row: deleted since it was copied, or never there"
	case rejected:
		f.Class, f.Known = Extra, "a document of a row that was rejected"
	case len(copies) == 0:
		f.Class, f.Known = Missing, "row of "+isoTime(micros)+", no document"
	case len(copies) > 1:
		f.Class, f.Known = TwoPlaces, "row of "+isoTime(micros)+", several documents: Sentry reads none"
	case copies[0].Index != j.indexOf(micros):
		f.Class, f.Known = WrongDay, "row of "+isoTime(micros)+", its document is in another day's index"
	case copies[0].Millis != node.Millis(micros):
		f.Class, f.Known = Different, otherVersion(micros, copies[0].Millis)
	default:
		return result
	}
	if there && micros >= j.horizon {
		result.outcome = pending
		return result
	}
	for _, c := range copies {
		f.Indices = append(f.Indices, c.Index)
	}
	slices.Sort(f.Indices)
	result.outcome, result.finding = blamed, f
	return result
}

// besideAlias tells nodes that are missing from those that their day's index has
// but does not show: Sentry asks the alias.
func (j judge) besideAlias(ctx context.Context, judgements []judgement) error {
	missing := make(map[string][]*Finding)
	for i := range judgements {
		if f := &judgements[i].finding; f.Class == Missing {
			name := j.indexOf(judgements[i].micros)
			missing[name] = append(missing[name], f)
		}
	}
	for name, findings := range missing {
		ids := make([]string, len(findings))
		for i, f := range findings {
			ids[i] = f.ID
		}
		hidden, err := j.copies(ctx, name, ids)
		if err != nil {
			return err
		}
		known := "its index is not behind the alias that Sentry reads through"
		if _, behind := j.indices[name]; behind {
			known = "its index has it, but a search through the alias does not find it: look for a filter or a routing of the alias"
		}
		for _, f := range findings {
			if len(hidden[f.ID]) > 0 {
				f.Class, f.Known, f.Indices = Unreadable, known, []string{name}
			}
		}
	}
	return nil
}

// payloadsAtOnce is how many suspects are read at a time, on both sides.
const payloadsAtOnce = 20

// byPayloads judges suspects by all that byIDs sees, and by their payloads.
func (j judge) byPayloads(ctx context.Context, list []suspect) ([]judgement, error) {
	c := newComparer(j.run)
	judgements, err := j.byIDs(ctx, list)
	if err != nil {
		return nil, err
	}
	for start := 0; start < len(list); start += payloadsAtOnce {
		end := min(start+payloadsAtOnce, len(list))
		if err := j.comparePayloads(ctx, c, list[start:end], judgements[start:end]); err != nil {
			return nil, err
		}
	}
	return judgements, nil
}

// comparePayloads compares the payloads of suspects whose ids are in order.
func (j judge) comparePayloads(ctx context.Context, c *comparer, list []suspect, judgements []judgement) error {
	var ids []string
	newest := make(map[string]int64)
	for i, s := range list {
		if judgements[i].outcome == cleared {
			ids = append(ids, s.id)
			if judgements[i].there {
				newest[s.id] = judgements[i].micros
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, damaged, err := j.fetch(ctx, ids, newest)
	if err != nil {
		return err
	}
	differences, err := c.differences(ctx, j.target.Backend().Alias, ids, rows)
	if err != nil {
		return err
	}
	for i, s := range list {
		if judgements[i].outcome != cleared {
			continue
		}
		row, there := rows[s.id]
		f, seen := differences[s.id]
		switch {
		case damaged[s.id] != "":
			f = Finding{Class: Uncompared, Known: damaged[s.id]}
		case !there:
			judgements[i] = judgement{outcome: vanished}
			continue
		case j.rejected.has(row.ID, row.Micros):
			continue
		case !seen:
			f = Finding{Class: Uncompared, Known: "its document went while it was read"}
		case f.Class == "":
			sound, err := c.asSentry(ctx, row)
			if err != nil {
				return err
			}
			if sound {
				continue
			}
			f = Finding{Class: Unreadable, Known: "Sentry's search and get do not give it, though it is stored"}
		}
		f.ID, f.Day = s.id, s.day.String()
		judgements[i] = judgement{outcome: blamed, finding: f}
		if there && row.Micros >= j.horizon {
			judgements[i] = judgement{outcome: pending}
		}
	}
	return nil
}
