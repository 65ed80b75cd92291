package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// version is what Sentry wrote for an id at one time.
type version struct {
	inner string
	at    int64 // the row's or document's timestamp, µs
	kind  kind
}

// fact is what the model knows of an id.
type fact struct {
	row     *version // at the source
	history []version
	written *version // by Sentry to OpenSearch
	copied  *version // the row that the last run to end well has seen
	kept    *version // what the operator deleted at the source after it was copied, and after the switch: it must stay
	gone    bool     // erased at the target after it was copied: it must not come back
	perhaps bool     // erased at the target, perhaps before it was copied: both is right
	erased  bool     // by Sentry, after the switch
	lost    node.Day // its index was dropped though no retention covers it: it comes back when the operator says so; 0: it was not
	late    bool     // committed so late, or so far back, that only a run before the switch copies it unasked
	loose   bool     // deleted at the source, and its document may stay
}

// model is what Sentry should see.
type model struct {
	setting
	facts    [ids]fact
	switched int64             // µs; 0: not yet
	early    int64             // when Sentry first wrote to the target before the switch was named, µs; 0: never
	settled  bool              // a run that knew of the switch has ended
	mirrored bool              // a run from before the switch has ended: the first one after it removes what was deleted
	emptied  bool              // the operator deleted rows after the switch
	several  bool              // operators have had runs
	refused  bool              // the tool asked about what was deleted, and the operator did not want that: the last run did not end
	spoiled  bool              // the template or the alias is not what Sentry made: only the verdict can be told
	lost     map[node.Day]int  // how often the index of a day was dropped though no retention covers it, since it was copied again
	foreign  map[node.Day]bool // days whose index was there before us: what vanishes there stays
}

// overlap is how late a row may be committed to be copied unasked also after
// the switch: less than the tool's.
const overlap = 14 * time.Minute

// rewrote notes a row that Sentry wrote at the source, by the clock's now.
func (m *model) rewrote(id int, v version, now int64) {
	f := &m.facts[id]
	backward := slices.ContainsFunc(f.history, func(older version) bool { return older.at > v.at })
	f.history = append(f.history, v)
	f.row, f.kept = &v, nil
	f.gone, f.perhaps, f.erased, f.lost, f.loose = false, false, false, 0, false
	f.late = v.at < now-overlap.Microseconds()-int64(time.Minute/time.Microsecond) || backward && m.switched != 0
}

// left notes a document of another tool.
func (m *model) left(id int, v version) {
	f := &m.facts[id]
	f.history = slices.Insert(f.history, 0, v)
	m.foreign[node.DayOf(v.at)] = true
}

// erase notes that the target loses an id.
func (m *model) erase(id int) {
	f := &m.facts[id]
	f.written, f.kept = nil, nil
	if f.row == nil || f.copied == f.row {
		f.gone = true
		return
	}
	f.perhaps = true
}

// dropped notes that the index of a day is gone.
func (m *model) dropped(n node.Day, now int64) {
	for id := range m.facts {
		f := &m.facts[id]
		mine := f.row
		switch {
		case f.written != nil:
			mine = f.written
		case f.kept != nil:
			mine = f.kept
		}
		if mine != nil && node.DayOf(mine.at) == n && !f.gone {
			m.erase(id)
			if !m.expired(version{at: n.Start()}, now) {
				f.lost = n
			}
		}
	}
	if !m.expired(version{at: n.Start()}, now) {
		m.lost[n]++
	}
}

// asked notes that the operator asks for rows that have no document: after the
// switch those, too, that Sentry deleted.
func (m *model) asked() {
	for id := range m.facts {
		f := &m.facts[id]
		if f.gone && f.row != nil {
			f.gone, f.perhaps = false, true
		}
	}
}

// restored notes that the tool copied lost days again, which were lost so often
// before.
func (m *model) restored(days []node.Day, before map[node.Day]int) {
	for _, n := range days {
		if m.lost[n] != before[n] {
			continue // and were dropped again meanwhile
		}
		delete(m.lost, n)
		for id := range m.facts {
			if f := &m.facts[id]; f.lost == n && f.row != nil {
				f.lost, f.gone, f.perhaps = 0, false, f.erased
			}
		}
	}
}

// removed notes rows that the operator deleted after the switch: those whose
// timestamp is on a day.
func (m *model) removed(n node.Day, dayOf func(micros int64) node.Day) {
	m.emptied = true
	for id := range m.facts {
		f := &m.facts[id]
		if f.row == nil || dayOf(f.row.at) != n {
			continue
		}
		sure := m.settled && !m.several && f.copied == f.row && f.written == nil && f.row.kind == readable
		if sure && !f.gone && !f.perhaps && f.lost == 0 && !f.late {
			f.kept = f.row
		}
		f.row, f.loose = nil, true
	}
}

// loosen notes that the tool ended before it removed anything.
func (m *model) loosen() {
	m.refused = true
	for id := range m.facts {
		m.facts[id].loose = m.facts[id].loose || m.facts[id].row == nil
	}
}

// shared notes that a second operator runs the tool, who knows nothing of what
// the first has seen.
func (m *model) shared() {
	m.several = true
	for id := range m.facts {
		m.facts[id].kept = nil
	}
}

// wrote notes what Sentry wrote at the target.
func (m *model) wrote(id int, v version) {
	f := &m.facts[id]
	f.written, f.kept = &v, nil
	f.gone, f.erased, f.lost = false, false, 0
}

// seen returns the rows as they are now.
func (m *model) seen() (rows [ids]*version) {
	for id, f := range m.facts {
		rows[id] = f.row
	}
	return rows
}

// ended notes that a run ended well which began when the rows were these.
func (m *model) ended(rows [ids]*version, r run) {
	populated := make(map[node.Day]bool)
	for _, row := range rows {
		if row != nil {
			populated[node.DayOf(row.at)] = true
		}
	}
	for id, row := range rows {
		f := &m.facts[id]
		if f.row != row {
			continue
		}
		f.copied = row
		if m.switched == 0 || r.again {
			f.late = false
		}
		// The documents of a day that has no rows at all stay.
		if row == nil && !m.settled {
			f.loose = f.loose && m.emptied || m.switched != 0 && !m.mirrored ||
				slices.ContainsFunc(f.history, func(v version) bool { return !populated[node.DayOf(v.at)] })
		}
	}
	m.mirrored = m.mirrored || m.switched == 0
	m.settled, m.refused = m.settled || m.switched != 0, false
}

// expectation is what Sentry may read of an id.
type expectation struct {
	inner   []string // any of these
	absent  bool     // or nothing
	doubled bool     // or several documents, of which it reads none
	nothing bool     // nothing is expected
}

func (e expectation) String() string {
	if e.absent {
		return fmt.Sprintf("nothing, or one of %q", e.inner)
	}
	return fmt.Sprintf("one of %q", e.inner)
}

// final is what Sentry may read of an id after the last run, at a time in µs.
func (m *model) final(id int, now int64) expectation {
	f := m.facts[id]
	var older []string
	for _, v := range f.history {
		if v.kind == readable {
			older = append(older, v.inner)
		}
	}
	anything := expectation{inner: older, absent: true, doubled: true}
	switch {
	case f.written != nil:
		return expectation{inner: []string{f.written.inner}}
	case f.kept != nil && !m.expired(*f.kept, now):
		return expectation{inner: []string{f.kept.inner}}
	case f.lost != 0, f.gone && m.several, f.row != nil && m.lost[node.DayOf(f.row.at)] > 0:
		return anything
	case f.gone:
		return expectation{absent: true}
	case f.row == nil && (f.loose || m.unjudged(f, now)):
		return anything
	case f.row == nil:
		return expectation{absent: true}
	case m.hidden(f): // beside the row's there may be a newer document in an index that is not ours
		return expectation{inner: append(older, f.row.inner), absent: true, doubled: true}
	case f.row.kind == pickled, f.late: // an older document is better than none
		// A copy in a day beyond the retention is Sentry's cleanup's to drop.
		beyond := slices.ContainsFunc(f.history, func(v version) bool { return m.expired(v, now) })
		return expectation{inner: older, absent: true, doubled: beyond}
	case m.expired(*f.row, now): // no run looks at it any more
		return expectation{inner: older, absent: true}
	case f.perhaps:
		return expectation{inner: []string{f.row.inner}, absent: true}
	}
	return expectation{inner: []string{f.row.inner}}
}

// unjudged reports whether the tool leaves the documents of a deleted row where
// they are: in an index that was there before it, beyond the retention, or with
// a clock that was ahead of the switch.
func (m *model) unjudged(f fact, now int64) bool {
	return slices.ContainsFunc(f.history, func(v version) bool {
		return m.foreign[node.DayOf(v.at)] || m.expired(v, now) || v.at >= m.switched
	})
}

// hidden reports whether a row went back from a day whose index was there before
// us: nobody can tell that the document in it is not Sentry's.
func (m *model) hidden(f fact) bool {
	return slices.ContainsFunc(f.history, func(v version) bool { return v.at > f.row.at && m.foreign[node.DayOf(v.at)] })
}

// expired reports whether a version's day is beyond the retention that the tool
// was told.
func (m *model) expired(v version, now int64) bool {
	return m.keep > 0 && node.DayOf(v.at).Start() < now-m.keep.Microseconds()
}

// between is what has to be true after any run that ended well and that nothing
// disturbed. Deleted rows may stay until the last run.
func (m *model) between(id int, now int64) expectation {
	e := m.final(id, now)
	f := m.facts[id]
	if f.row == nil && f.written == nil && f.kept == nil && !f.gone {
		for _, v := range f.history {
			e.inner = append(e.inner, v.inner)
		}
		e.absent = true
	}
	return e
}

// promised is what "safe to drop" says of an id: Sentry reads what the row
// holds, or what it wrote since, or nothing if it deleted the node since. ok is
// false if nothing is promised.
func (m *model) promised(id int, now int64) (e expectation, ok bool) {
	f := m.facts[id]
	switch {
	case f.row == nil, m.expired(*f.row, now):
		return e, false
	case f.written != nil && m.spoiled: // Sentry's own writes may go nowhere as well
		return expectation{inner: []string{f.written.inner, f.row.inner}}, true
	case f.written != nil:
		return expectation{inner: []string{f.written.inner}}, true
	case f.row.kind == pickled:
		return e, false
	}
	return expectation{inner: []string{f.row.inner}, absent: f.erased}, true
}
