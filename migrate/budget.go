package migrate

import (
	"cmp"
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

// budget is what this run has rejected so far.
type budget struct {
	mu   sync.Mutex
	run  spending
	days map[node.Day]*spending
}

type spending struct{ nodes, refused, rejected int64 }

func (s spending) plus(other spending) spending {
	return spending{s.nodes + other.nodes, s.refused + other.refused, s.rejected + other.rejected}
}

// spend counts what was read of a day, and what of that is rejected, before that
// is recorded. It is an error if the limit does not allow it. The day has about
// expected nodes, as far as is known.
func (b *budget) spend(limit Budget, day node.Day, read tally, expected int64) error {
	here := spending{nodes: read.nodes, rejected: int64(len(read.rejected))}
	var last Rejected
	for _, r := range read.rejected {
		if r.Reason == target.ReasonRefused || r.Reason == target.ReasonTooLarge {
			here.refused++
			last = r
		} else if limit.Nodes != nil {
			last = r
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.days == nil {
		b.days = make(map[node.Day]*spending)
	}
	if b.days[day] == nil {
		b.days[day] = new(spending)
	}
	ofDay := b.days[day]
	b.run, *ofDay = b.run.plus(here), ofDay.plus(here)
	switch {
	case limit.Nodes != nil && b.run.rejected > *limit.Nodes:
		return &BudgetError{b.run.rejected, b.run.nodes, "this run", last}
	case limit.Nodes != nil || here.refused == 0 || limit.Share >= 1:
	case b.run.refused == b.run.nodes && b.run.refused >= fewRefused:
		return &BudgetError{b.run.refused, b.run.nodes, "this run", last}
	case ofDay.tooMany(cmp.Or(limit.Share, DefaultRefused), expected):
		return &BudgetError{ofDay.refused, ofDay.nodes, "day " + day.String(), last}
	}
	return nil
}

// tooMany says whether more than a share of a day is refused.
func (s *spending) tooMany(share float64, expected int64) bool {
	nodes := max(s.nodes, expected)
	return s.refused >= fewRefused && (s.refused == s.nodes || float64(s.refused) > share*float64(nodes))
}
