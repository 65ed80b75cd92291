package verify

import (
	"context"
	"slices"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// suspect is a node that did not look right. On a live source that may be the
// moment's fault, so it is looked at again on both sides before it is blamed.
type suspect struct {
	id      string
	day     node.Day
	row     bool   // its row was seen; otherwise only a document
	index   string // where a document made it suspect, if one did
	stratum stratum
}

// verdict is what became of a suspect.
type verdict uint8

const (
	cleared  verdict = iota // all is well
	vanished                // deleted at the source meanwhile
	pending                 // rewritten after the last pass of the migration, which will move it
	blamed
)

// judgement is a verdict, with the finding if it is blamed.
type judgement struct {
	verdict verdict
	finding Finding
}

const (
	// maxSuspects bounds the memory of suspects: as many are looked at again at
	// the same time, which also makes the pauses cheap.
	maxSuspects = 50_000
	// suspectsAtOnce is how many one question is about.
	suspectsAtOnce = 1000
)

// suspects wait to be looked at again.
type suspects struct {
	*Verification
	look  func(context.Context, []suspect) ([]judgement, error)
	count func(func(*Day))

	mu      sync.Mutex
	waiting []suspect
}

func (s *suspects) add(ctx context.Context, found ...suspect) error {
	s.mu.Lock()
	s.waiting = append(s.waiting, found...)
	full := len(s.waiting) >= maxSuspects
	s.mu.Unlock()
	if full {
		return s.flush(ctx)
	}
	return nil
}

// flush settles all suspects.
func (s *suspects) flush(ctx context.Context) error {
	s.mu.Lock()
	list := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	return s.settle(ctx, distinct(list))
}

// distinct keeps one suspect of each id; having seen the row counts for more.
func distinct(list []suspect) []suspect {
	slices.SortStableFunc(list, func(a, b suspect) int {
		switch {
		case a.id != b.id && a.id < b.id:
			return -1
		case a.id != b.id:
			return 1
		case a.row == b.row:
			return 0
		case a.row:
			return -1
		}
		return 1
	})
	return slices.CompactFunc(list, func(a, b suspect) bool { return a.id == b.id })
}

// settle looks at suspects again after each pause, and lists those that are
// blamed every time.
func (s *suspects) settle(ctx context.Context, list []suspect) error {
	if len(list) > 0 {
		s.options.Notify(Event{Kind: LookingAgain, Nodes: int64(len(list))})
	}
	var found []Finding
	for round := 0; len(list) > 0; round++ {
		if round < len(s.options.Pauses) {
			if err := sleep(ctx, s.options.Pauses[round]); err != nil {
				return err
			}
		}
		var remaining []suspect
		for part := range slices.Chunk(list, suspectsAtOnce) {
			judgements, err := s.look(ctx, part)
			if err != nil {
				return err
			}
			for i, j := range judgements {
				if j.verdict != blamed {
					s.acquit(part[i], j.verdict)
					continue
				}
				remaining = append(remaining, part[i])
				if round+1 >= len(s.options.Pauses) {
					found = append(found, j.finding)
				}
			}
		}
		if round+1 >= len(s.options.Pauses) {
			s.count(func(d *Day) {
				for _, one := range remaining {
					d.stratum(one.stratum).Defects++
				}
			})
			break
		}
		list = remaining
	}
	return s.findings.add(found...)
}

func (s *suspects) acquit(one suspect, v verdict) {
	s.count(func(d *Day) {
		switch v {
		case cleared:
			return
		case vanished:
			d.Vanished++
		case pending:
			d.Pending++
		}
		// It was not compared, and there is nothing that it could stand for.
		d.stratum(one.stratum).add(Compared{Population: -1, Nodes: -1})
	})
}

// sighting is a document of an id behind the alias.
type sighting struct {
	index  string
	millis int64
}

// lookIDs judges suspects by their ids and timestamps.
func (v *Verification) lookIDs(ctx context.Context, list []suspect) ([]judgement, error) {
	ids := idsOf(list)
	rows, err := v.locate(ctx, ids)
	if err != nil {
		return nil, err
	}
	alias := v.Target.Backend().Alias
	seen, err := v.sightings(ctx, alias, ids)
	if err != nil {
		return nil, err
	}
	judgements := make([]judgement, len(list))
	for i, s := range list {
		micros, ok := rows[s.id]
		judgements[i] = v.judge(s, rowSeen{micros, ok}, seen[s.id])
	}
	return judgements, v.lookBesideAlias(ctx, judgements)
}

func idsOf(list []suspect) []string {
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.id
	}
	return ids
}

func (v *Verification) sightings(ctx context.Context, index string, ids []string) (map[string][]sighting, error) {
	var copies []target.Copy
	err := v.again(ctx, func() (err error) { copies, err = v.Target.Copies(ctx, index, ids); return err })
	if err != nil && !target.IsGone(err) {
		return nil, err
	}
	seen := make(map[string][]sighting)
	for _, c := range copies {
		seen[c.ID] = append(seen[c.ID], sighting{c.Index, c.Millis})
	}
	return seen, nil
}

// rowSeen is the latest row of an id, if there is one.
type rowSeen struct {
	micros int64
	there  bool
}

// judge says what an id's row and its documents behind the alias mean.
func (v *Verification) judge(s suspect, row rowSeen, seen []sighting) judgement {
	rejected := row.there && v.rejected.has([]byte(s.id), row.micros)
	switch {
	case !row.there && (s.row || len(seen) == 0):
		return judgement{verdict: vanished}
	case !row.there:
		return accused{s, s.day}.of(Extra, "a document, but no row: deleted since it was copied, or never there", seen)
	case row.micros >= v.horizon():
		return judgement{verdict: pending}
	case rejected && len(seen) == 0:
		return judgement{}
	case rejected:
		return accused{s, node.DayOf(row.micros)}.of(Extra, "a document of a row that was rejected", seen)
	case len(seen) == 0:
		return accused{s, node.DayOf(row.micros)}.of(Missing, "row of "+isoTime(row.micros)+", no document", nil)
	case len(seen) > 1:
		return accused{s, node.DayOf(row.micros)}.of(TwoPlaces, "row of "+isoTime(row.micros)+", several documents: Sentry reads none", seen)
	}
	return v.judgePlace(s, row.micros, seen)
}

// judgePlace judges the one document of a row by its day and its version.
func (v *Verification) judgePlace(s suspect, micros int64, seen []sighting) judgement {
	document, day := seen[0], node.DayOf(micros)
	newer := document.millis > node.Millis(micros)
	home := v.Target.Backend().IndexOf(day)
	if newer { // Sentry wrote it after the switch, on the day that it says
		home = v.Target.Backend().IndexOf(node.DayOf(document.millis * 1000))
	}
	switch {
	case document.index != home:
		return accused{s, day}.of(WrongDay, "row of "+isoTime(micros)+", its document is in another day's index", seen)
	case document.millis < node.Millis(micros):
		return accused{s, day}.of(Different, olderKnown(micros, document.millis), seen)
	}
	return judgement{}
}

func olderKnown(micros, millis int64) string {
	return "the row is of " + isoTime(micros) + ", its document of " + isoMillis(millis)
}

// accused is a suspect with the day that its row or document belongs to.
type accused struct {
	suspect
	day node.Day
}

func (a accused) of(class Class, known string, seen []sighting) judgement {
	f := Finding{Class: class, ID: a.id, Day: a.day.String(), Known: known}
	for _, one := range seen {
		f.Indices = append(f.Indices, one.index)
	}
	slices.Sort(f.Indices)
	return judgement{blamed, f}
}

// lookBesideAlias tells nodes that are missing from those that are in their
// day's index while that is not behind the alias.
func (v *Verification) lookBesideAlias(ctx context.Context, judgements []judgement) error {
	beside := make(map[string][]string)
	for _, j := range judgements {
		day, err := node.ParseDay(j.finding.Day)
		if j.finding.Class != Missing || err != nil {
			continue
		}
		name := v.Target.Backend().IndexOf(day)
		if _, behind := v.scope.indices[name]; !behind {
			beside[name] = append(beside[name], j.finding.ID)
		}
	}
	there := make(map[string]string)
	for name, ids := range beside {
		seen, err := v.sightings(ctx, name, ids)
		if err != nil {
			return err
		}
		for id := range seen {
			there[id] = name
		}
	}
	for i, j := range judgements {
		if name, ok := there[j.finding.ID]; ok && j.finding.Class == Missing {
			f := &judgements[i].finding
			f.Class, f.Known, f.Indices = Unreadable, "its index is not behind the alias that Sentry reads through", []string{name}
		}
	}
	return nil
}
