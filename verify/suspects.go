package verify

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
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

// judgement is what became of a suspect.
type judgement struct {
	outcome outcome
	finding Finding // if it is blamed
	micros  int64   // of its latest row
	there   bool    // whether there is a row
}

type outcome uint8

const (
	cleared  outcome = iota // all is well
	vanished                // deleted at the source meanwhile
	pending                 // rewritten after the last pass of the migration, which will move it
	blamed
)

func idsOf(list []suspect) []string {
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.id
	}
	return ids
}

const (
	// maxSuspects bounds the memory of suspects: as many are looked at again at
	// the same time, which also makes the pauses cheap.
	maxSuspects = 50_000
	// suspectsAtOnce is how many one question is about.
	suspectsAtOnce = 1000
)

// counted is what several goroutines count of a day.
type counted struct {
	mu  sync.Mutex
	day Day
}

func (c *counted) change(how func(*Day)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how(&c.day)
}

// suspects wait to be looked at again.
type suspects struct {
	*run
	judge   func(context.Context, []suspect) ([]judgement, error)
	counted *counted

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
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// flush settles all suspects.
func (s *suspects) flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle(ctx)
}

// settle looks at suspects again after each pause, and lists those that are
// blamed every time. Of each id it takes one: one whose row was seen, the newest.
func (s *suspects) settle(ctx context.Context) error {
	list := s.waiting
	s.waiting = nil
	slices.SortStableFunc(list, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(b.micros, a.micros))
	})
	list = slices.CompactFunc(list, func(a, b suspect) bool { return a.id == b.id })
	if len(list) > 0 {
		s.Notify(Event{Kind: LookingAgain, Nodes: int64(len(list))})
	}
	for round := 0; len(list) > 0; round++ {
		if round < len(s.Pauses) {
			if err := orderly.Sleep(ctx, s.Pauses[round]); err != nil {
				return err
			}
		}
		last := round+1 >= len(s.Pauses)
		remaining := list[:0]
		for part := range slices.Chunk(list, suspectsAtOnce) {
			judgements, err := s.judge(ctx, part)
			if err != nil {
				return err
			}
			for i, j := range judgements {
				switch {
				case j.outcome != blamed:
					s.counted.change(func(d *Day) { d.acquit(part[i].stratum, j.outcome) })
				case !last:
					remaining = append(remaining, part[i])
				default:
					s.counted.change(func(d *Day) { d.stratum(part[i].stratum).Defects++ })
					if err := s.record.findings.add(part[i].day.String(), j.finding); err != nil {
						return err
					}
				}
			}
		}
		list = remaining
	}
	return nil
}
