package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// replay is the target's ceiling: ready-made bulk bodies, the very bytes that
// the tool would send, by a sender that does nothing but send.
type replay struct {
	*bed
	client *http.Client
	bodies []*bodies
	codec  string // of the indices; "": the template's
}

// with is the same with another codec.
func (r *replay) with(codec string) *replay { return &replay{r.bed, r.client, r.bodies, codec} }

// bodies are the requests of a day.
type bodies struct {
	index string
	ready [][]byte
	open  atomic.Int64 // that are not yet answered in this run
}

// body is one request on its way.
type body struct {
	of      *bodies
	content []byte
}

// newReplay makes the bodies beforehand, from the same rows with the same code.
func newReplay(ctx context.Context, b *bed) (*replay, error) {
	s, err := source.Open(ctx, source.Config{ConnString: b.source, Table: table})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: b.senders}
	b.later(func(context.Context) error { transport.CloseIdleConnections(); return nil })
	r := &replay{bed: b, client: &http.Client{Transport: transport}}
	batch, check := target.NewBatch(migrate.DefaultBatchBytes), node.NewChecker(node.Quick)
	for _, day := range b.days {
		d := &bodies{index: b.api.Backend().IndexOf(day)}
		batch.Reset(target.Versioned)
		err := s.Stream(ctx, day.Start(), day.End(), func(n node.Node) error {
			if batch.Size()+batch.Room(n) > migrate.DefaultBatchBytes {
				d.ready = append(d.ready, slices.Clone(batch.Body()))
				batch.Reset(target.Versioned)
			}
			if v := batch.Append(n, check); v.Reason != node.Accepted {
				return fmt.Errorf("node %q: %s", n.ID, v.Reason)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("make bodies: %w", err)
		}
		d.ready = append(d.ready, slices.Clone(batch.Body()))
		r.bodies = append(r.bodies, d)
	}
	return r, nil
}

// run sends all bodies. As the tool does, it creates each day's index before
// the day's first body, and refreshes and flushes it after the last: both end
// with the same documents in the same state.
func (r *replay) run(ctx context.Context) (sample, error) {
	measured, err := inProcess(func() error { return r.sendAll(ctx) })
	if err != nil {
		return sample{}, fmt.Errorf("replay: %w", err)
	}
	measured.bytes = r.bytes
	return measured, r.checkCount(ctx)
}

func (r *replay) sendAll(ctx context.Context) error {
	queue := make(chan body)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.produce(ctx, queue) })
	for range r.senders {
		group.Go(func() error {
			for next := range queue {
				if err := r.send(ctx, next); err != nil {
					return err
				}
				if next.of.open.Add(-1) == 0 {
					group.Go(func() error { return r.seal(ctx, next.of.index) })
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *replay) produce(ctx context.Context, queue chan<- body) error {
	defer close(queue)
	for _, day := range r.bodies {
		loan, err := r.api.Loan(ctx, day.index)
		if err != nil {
			return err
		}
		loan.Shape.Codec = r.codec
		if err := r.api.Create(ctx, day.index, loan, target.Origin{Origin: node.Origin{Table: table}}); err != nil {
			return err
		}
		day.open.Store(int64(len(day.ready)))
		for _, content := range day.ready {
			select {
			case queue <- body{day, content}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (r *replay) send(ctx context.Context, next body) error {
	answer, err := r.request(ctx, r.client, call{
		method: http.MethodPost, path: "/" + next.of.index + "/_bulk?filter_path=errors", body: bytes.NewReader(next.content),
	})
	if err == nil && !bytes.Equal(answer, []byte(`{"errors":false}`)) {
		err = errors.New("the cluster did not take every node of a body: is it overloaded?")
	}
	return err
}

func (r *replay) seal(ctx context.Context, index string) error {
	if err := r.api.Refresh(ctx, index); err != nil {
		return err
	}
	return r.api.Flush(ctx, index)
}

// checkCount makes sure that what was measured is what was meant.
func (r *replay) checkCount(ctx context.Context) error {
	count, err := r.api.Count(ctx, alias, nil)
	if err == nil && count != r.rows {
		err = fmt.Errorf("replay: %d documents behind the alias, want %d", count, r.rows)
	}
	return err
}
