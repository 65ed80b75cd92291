package verify

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// suspect is a node that did not look right. On a live source that may be the
// moment's fault, so it is looked at again on both sides before it is blamed.
type suspect struct {
	id      string
	day     node.Day
	micros  int64 // of its row that was seen; documentOnly if none was, 0 if it is not known when
	stratum stratum
}

// documentOnly says of a suspect that its row was not seen.
const documentOnly = math.MinInt64

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
	row     rowSeen // that it is about
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

	mu      sync.Mutex // held while suspects are settled: others that find more wait
	waiting []suspect
}

func (s *suspects) add(ctx context.Context, found ...suspect) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(found) > 0 {
		n := min(len(found), maxSuspects-len(s.waiting))
		s.waiting, found = append(s.waiting, found[:n]...), found[n:]
		if len(s.waiting) < maxSuspects {
			return nil
		}
		if err := s.settleWaiting(ctx); err != nil {
			return err
		}
	}
	return nil
}

// flush settles all suspects.
func (s *suspects) flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settleWaiting(ctx)
}

func (s *suspects) settleWaiting(ctx context.Context) error {
	list := distinct(s.waiting)
	s.waiting = nil
	return s.settle(ctx, list)
}

// distinct keeps one suspect of each id: one whose row was seen, the newest.
func distinct(list []suspect) []suspect {
	slices.SortStableFunc(list, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(b.micros, a.micros))
	})
	return slices.CompactFunc(list, func(a, b suspect) bool { return a.id == b.id })
}

// settle looks at suspects again after each pause, and lists those that are
// blamed every time.
func (s *suspects) settle(ctx context.Context, list []suspect) error {
	if len(list) > 0 {
		s.options.Notify(Event{Kind: LookingAgain, Nodes: int64(len(list))})
	}
	for round := 0; len(list) > 0; round++ {
		if round < len(s.options.Pauses) {
			if err := orderly.Sleep(ctx, s.options.Pauses[round]); err != nil {
				return err
			}
		}
		last := round+1 >= len(s.options.Pauses)
		remaining := list[:0]
		for part := range slices.Chunk(list, suspectsAtOnce) {
			judgements, err := s.look(ctx, part)
			if err != nil {
				return err
			}
			for i, j := range judgements {
				switch {
				case j.verdict != blamed:
					s.acquit(part[i], j.verdict)
				case !last:
					remaining = append(remaining, part[i])
				default:
					if err := s.blame(part[i], j.finding); err != nil {
						return err
					}
				}
			}
		}
		list = remaining
	}
	return nil
}

func (s *suspects) blame(one suspect, found Finding) error {
	s.count(func(d *Day) { d.stratum(one.stratum).Defects++ })
	return s.findings.add(one.day.String(), found)
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
	seen, err := v.sightings(ctx, v.Target.Backend().Alias, ids)
	if err != nil {
		return nil, err
	}
	rows, err := v.latest(ctx, list, seen)
	if err != nil {
		return nil, err
	}
	judgements := make([]judgement, len(list))
	for i, s := range list {
		micros, ok := rows[s.id]
		row := rowSeen{micros, ok}
		judgements[i] = v.judge(s, row, seen[s.id])
		judgements[i].row = row
	}
	return judgements, v.lookBesideAlias(ctx, judgements)
}

// latest returns the latest timestamp of each suspect's rows. An index of the
// ids may be damaged, so that it lacks a row: where it does not confirm the row
// that was seen before, or the version of the document, that time is read again.
func (v *Verification) latest(ctx context.Context, list []suspect, seen map[string][]sighting) (map[string]int64, error) {
	rows, err := v.locate(ctx, idsOf(list))
	if err != nil {
		return nil, err
	}
	doubts := make(map[int64][]string) // ids by the minute to look at
	for _, s := range list {
		micros, ok := rows[s.id]
		if s.micros != documentOnly && s.micros != 0 && (!ok || micros != s.micros) {
			start := s.micros - modulo(s.micros, minuteMicros)
			doubts[start] = append(doubts[start], s.id)
		}
		for _, one := range seen[s.id] {
			if at := one.millis * 1000; ok && one.millis > node.Millis(micros) && !v.scope.sentrys(s.id, one.millis) {
				doubts[at-modulo(at, minuteMicros)] = append(doubts[at-modulo(at, minuteMicros)], s.id)
			}
		}
	}
	for start, ids := range doubts {
		err := v.again(ctx, func() error {
			return v.Source.LocateBetween(ctx, ids, start, start+minuteMicros, func(id []byte, micros int64) error {
				if known, ok := rows[string(id)]; !ok || micros > known {
					rows[string(id)] = micros
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
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

// judge says what an id's row and its documents behind the alias mean. What
// Sentry wrote after the switch is right wherever it is. A row that the last pass
// of the migration did not know is not a finding, whatever its document is like.
func (v *Verification) judge(s suspect, row rowSeen, seen []sighting) judgement {
	j := v.judgeRow(s, row, seen)
	if j.verdict == blamed && row.there && row.micros >= v.horizon() {
		return judgement{verdict: pending}
	}
	return j
}

func (v *Verification) judgeRow(s suspect, row rowSeen, seen []sighting) judgement {
	own := len(seen) == 1 && v.scope.sentrys(s.id, seen[0].millis)
	rejected := row.there && v.rejected.has([]byte(s.id), row.micros)
	switch {
	case !row.there && (s.micros != documentOnly || len(seen) == 0):
		return judgement{verdict: vanished}
	case !row.there && own, row.there && own && seen[0].millis != node.Millis(row.micros):
		return judgement{}
	case !row.there:
		return accused{s, s.day}.of(Extra, "a document, but no row: deleted since it was copied, or never there", seen)
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
	switch {
	case document.index != v.Target.Backend().IndexOf(day):
		return accused{s, day}.of(WrongDay, "row of "+isoTime(micros)+", its document is in another day's index", seen)
	case document.millis != node.Millis(micros):
		return accused{s, day}.of(Different, otherVersion(micros, document.millis), seen)
	}
	return judgement{}
}

func otherVersion(micros, millis int64) string {
	which := "older"
	if millis > node.Millis(micros) {
		which = "newer"
	}
	return "the row is of " + isoTime(micros) + ", its document of " + isoMillis(millis) + ", which is " + which
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
	return judgement{verdict: blamed, finding: f}
}

// lookBesideAlias tells nodes that are missing from those that their day's index
// has but does not show: Sentry asks the alias.
func (v *Verification) lookBesideAlias(ctx context.Context, judgements []judgement) error {
	missing := make(map[string][]string)
	for _, j := range judgements {
		if j.finding.Class == Missing {
			name := v.Target.Backend().IndexOf(node.DayOf(j.row.micros))
			missing[name] = append(missing[name], j.finding.ID)
		}
	}
	there := make(map[string]string)
	for name, ids := range missing {
		seen, err := v.sightings(ctx, name, ids)
		if err != nil {
			return err
		}
		for id := range seen {
			there[id] = name
		}
	}
	for i, j := range judgements {
		name, ok := there[j.finding.ID]
		if !ok || j.finding.Class != Missing {
			continue
		}
		f := &judgements[i].finding
		f.Class, f.Known, f.Indices = Unreadable, "its index is not behind the alias that Sentry reads through", []string{name}
		if _, behind := v.scope.indices[name]; behind {
			f.Known = "its index has it, but a search through the alias does not find it: look for a filter or a routing of the alias"
		}
	}
	return nil
}
