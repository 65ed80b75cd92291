package verify

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// sides are the source and the target, which are asked until they answer.
type sides struct {
	source *source.Source
	target *target.Target
	notify func(Event)
}

// maxTries is how often a question is asked; with the pauses between them that
// is about five minutes.
const maxTries = 15

// ask repeats a question until there is an answer: a standby that cancels a query,
// a connection that breaks, or a busy cluster are not findings.
func (s *sides) ask(ctx context.Context, question func() error) error {
	for try := 1; ; try++ {
		err := question()
		if err == nil || ctx.Err() != nil || try == maxTries || !source.Retryable(err) {
			return err
		}
		pause := orderly.Backoff(try)
		s.notify(Event{Kind: Waiting, Cause: err.Error(), Pause: pause})
		if err := orderly.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// answer is what ask gets of a question that has one value for its answer.
func answer[T any](ctx context.Context, s *sides, question func(context.Context) (T, error)) (value T, err error) {
	err = s.ask(ctx, func() (err error) { value, err = question(ctx); return err })
	return value, err
}

// inTurn goes through phases until one fails.
func inTurn(ctx context.Context, phases ...func(context.Context) error) error {
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

// each works on a list, on so many of it at the same time.
func each[T any](ctx context.Context, workers int, list []T, work func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, one := range list {
		group.Go(func() error { return work(ctx, one) })
	}
	return group.Wait()
}

// rows counts the rows of a time.
func (s *sides) rows(ctx context.Context, from, to int64) (int64, error) {
	return answer(ctx, s, func(ctx context.Context) (int64, error) { return s.source.Count(ctx, from, to) })
}

// copies returns the documents that a search in an index or alias finds, by id.
func (s *sides) copies(ctx context.Context, index string, ids []string) (map[string][]target.Copy, error) {
	found, err := answer(ctx, s, func(ctx context.Context) ([]target.Copy, error) { return s.target.Copies(ctx, index, ids) })
	if err != nil && !target.IsGone(err) {
		return nil, err
	}
	copies := make(map[string][]target.Copy)
	for _, c := range found {
		copies[c.ID] = append(copies[c.ID], c)
	}
	return copies, nil
}

// indexOf names the index that a row with a timestamp belongs to.
func (s *sides) indexOf(micros int64) string {
	return s.target.Backend().IndexOf(node.DayOf(micros))
}

// fetch reads rows, each as new as it is known to be: an index of the ids that is
// damaged does not lead there, its time does. It says of those that the server
// cannot read why not.
func (s *sides) fetch(ctx context.Context, ids []string, newest map[string]int64) (rows map[string]node.Node, damaged map[string]string, err error) {
	rows, damaged = make(map[string]node.Node), make(map[string]string)
	keep := func(n node.Node) error {
		if known, ok := rows[string(n.ID)]; !ok || n.Micros >= known.Micros {
			rows[string(n.ID)] = clone(n)
		}
		return nil
	}
	err = s.ask(ctx, func() error { return s.source.Fetch(ctx, ids, keep) })
	if source.Damaged(err) || source.TooLong(err) {
		err = s.ask(ctx, func() error {
			return s.source.FetchApart(ctx, ids, source.Apart{Node: keep, Bad: func(b source.Bad) error {
				damaged[string(b.ID)] = "PostgreSQL cannot read the row: " + b.Why
				return nil
			}})
		})
	}
	if err != nil {
		return nil, nil, err
	}
	for id, micros := range newest {
		if r, there := rows[id]; damaged[id] == "" && (!there || r.Micros < micros) {
			err := s.ask(ctx, func() error { return s.source.FetchBetween(ctx, []string{id}, micros, micros+1, keep) })
			if err != nil {
				return nil, nil, err
			}
		}
	}
	return rows, damaged, nil
}

// clone keeps a node beyond the call that handed it over.
func clone(n node.Node) node.Node {
	return node.Node{ID: slices.Clone(n.ID), Data: slices.Clone(n.Data), Micros: n.Micros}
}
