package migrate

import (
	"fmt"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Budget is how many nodes a run may reject before it stops: what the target
// refuses for one reason it may refuse of all, and then days without documents
// would be sealed.
type Budget struct {
	// Share is how much of a day's nodes the target may refuse. 0 stands for
	// DefaultRefused, 1 is all of them.
	Share float64
	// Nodes is how many may be rejected, whatever for; then Share is not heeded.
	Nodes *int64
}

const (
	// DefaultRefused is far more than what single rows explain.
	DefaultRefused = 0.01
	// fewRefused prove nothing, whatever share they are.
	fewRefused = 10
)

// BudgetError means that the run stopped because of what it would have rejected.
// That is not recorded, and is sent again by the next run.
type BudgetError struct {
	Rejected, Nodes int64  // so many of so many
	Of              string // what the nodes are of: a day, or the run
	Last            Rejected
}

// Error says what was refused, in the words of the target if it has some.
func (e *BudgetError) Error() string {
	text := fmt.Sprintf("stopped: %d of the first %d nodes of %s were rejected, such as %s: %s", e.Rejected, e.Nodes, e.Of, e.Last.ID, e.Last.Reason)
	if e.Last.Detail != "" {
		text += ": " + e.Last.Detail
	}
	return text
}

// spent is what this run has rejected so far.
type spent struct {
	mu   sync.Mutex
	run  spending
	days map[node.Day]*spending
}

type spending struct{ nodes, refused, rejected int64 }

func (s spending) plus(other spending) spending {
	return spending{s.nodes + other.nodes, s.refused + other.refused, s.rejected + other.rejected}
}

// spend counts what an attempt rejects before that is recorded. It is an error
// if the budget does not allow it.
func (m *Migration) spend(a *attempt) error {
	here := spending{nodes: a.read.nodes, rejected: int64(len(a.read.rejected))}
	var last Rejected
	for _, r := range a.read.rejected {
		if r.Reason == target.ReasonRefused || r.Reason == target.ReasonTooLarge {
			here.refused++
			last = r
		} else if m.options.Budget.Nodes != nil {
			last = r
		}
	}
	s, d := &m.spent, a.slice.day
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.days == nil {
		s.days = make(map[node.Day]*spending)
	}
	if s.days[d.day] == nil {
		s.days[d.day] = new(spending)
	}
	ofDay := s.days[d.day]
	s.run, *ofDay = s.run.plus(here), ofDay.plus(here)
	switch limit := m.options.Budget.Nodes; {
	case limit != nil && s.run.rejected > *limit:
		return &BudgetError{s.run.rejected, s.run.nodes, "this run", last}
	case limit != nil || here.refused == 0 || m.options.Budget.Share >= 1:
	case s.run.refused == s.run.nodes && s.run.refused >= fewRefused:
		return &BudgetError{s.run.refused, s.run.nodes, "this run", last}
	case ofDay.tooMany(d, m.options.Budget.Share):
		return &BudgetError{ofDay.refused, ofDay.nodes, "day " + d.day.String(), last}
	}
	return nil
}

// tooMany says whether more than a share of a day is refused, as far as its
// nodes have been sent and by the estimate of their number.
func (s *spending) tooMany(d *day, share float64) bool {
	if share == 0 {
		share = DefaultRefused
	}
	nodes := s.nodes
	if d.open.Load() > 1 { // slices of the day are to come
		nodes = max(nodes, d.planned.Rows)
	}
	return s.refused >= fewRefused && (s.refused == s.nodes || float64(s.refused) > share*float64(nodes))
}
