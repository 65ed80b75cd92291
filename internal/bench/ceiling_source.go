package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// filling is a filled table.
type filling struct {
	table       string
	days        []node.Day // newest first
	rows, bytes int64
}

// copyToNowhere is the source's ceiling: binary COPY of a whole table, a day
// at a time, over as many connections as the tool reads with, and nobody looks
// at what comes.
func (b *bed) copyToNowhere(of filling) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		queue := make(chan string, len(of.days))
		for _, day := range of.days {
			queue <- fmt.Sprintf(`copy (select "id", "data", "timestamp" from %s where "timestamp" >= '%s+00' and "timestamp" < '%s+00') to stdout (format binary)`,
				of.table, day, day+1)
		}
		close(queue)
		group, ctx := errgroup.WithContext(ctx)
		measured, err := inProcess(func() error {
			for range b.readers {
				group.Go(func() error { return b.copyQueue(ctx, queue) })
			}
			return group.Wait()
		})
		if err != nil {
			return sample{}, fmt.Errorf("copy to nowhere: %w", err)
		}
		measured.bytes = of.bytes
		return measured, nil
	}
}

// copyQueue runs copies one after the other on one connection.
func (b *bed) copyQueue(ctx context.Context, queue <-chan string) error {
	conn, err := pgconn.Connect(ctx, b.source)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for sql := range queue {
		if _, err := conn.CopyTo(ctx, io.Discard, sql); err != nil {
			return err
		}
	}
	return nil
}
