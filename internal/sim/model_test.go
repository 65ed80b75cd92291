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
	written *version // by Sentry to OpenSearch, after the switch
	copied  *version // the row that the last run to end well has seen
	gone    bool     // erased at the target after it was copied: it must not come back
	perhaps bool     // erased at the target, perhaps before it was copied: both is right
}

// model is what Sentry should see.
type model struct {
	facts    [ids]fact
	switched int64 // µs; 0: not yet
	keep     time.Duration
	foreign  map[node.Day]bool // days whose index was there before us: what vanishes there stays
}

// rewrote notes a row that Sentry wrote at the source.
func (m *model) rewrote(id int, v version) {
	f := &m.facts[id]
	f.history = append(f.history, v)
	f.row, f.gone, f.perhaps = &v, false, false
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
	f.written = nil
	if f.row == nil || f.copied == f.row {
		f.gone = true
		return
	}
	f.perhaps = true
}

// dropped notes that the index of a day is gone.
func (m *model) dropped(n node.Day) {
	for id := range m.facts {
		f := &m.facts[id]
		switch {
		case f.written != nil && node.DayOf(f.written.at) == n:
			m.erase(id)
		case f.written == nil && f.row != nil && node.DayOf(f.row.at) == n && !f.gone:
			m.erase(id)
		}
	}
}

// seen returns the rows as they are now.
func (m *model) seen() (rows [ids]*version) {
	for id, f := range m.facts {
		rows[id] = f.row
	}
	return rows
}

// ended notes that a run ended well which began when the rows were these.
func (m *model) ended(rows [ids]*version) {
	for id, row := range rows {
		if m.facts[id].row == row {
			m.facts[id].copied = row
		}
	}
}

// expectation is what Sentry may read of an id.
type expectation struct {
	inner   []string // any of these
	absent  bool     // or nothing
	doubled bool     // or several documents, of which it reads none
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
	switch {
	case f.written != nil:
		return expectation{inner: []string{f.written.inner}}
	case f.gone:
		return expectation{absent: true}
	case f.row == nil && m.unjudged(f, now):
		return expectation{inner: older, absent: true, doubled: true}
	case f.row == nil:
		return expectation{absent: true}
	case f.row.kind == pickled: // an older document is better than none
		return expectation{inner: older, absent: true}
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
	if f.row == nil && f.written == nil && !f.gone {
		for _, v := range f.history {
			e.inner = append(e.inner, v.inner)
		}
		e.absent = true
	}
	return e
}
