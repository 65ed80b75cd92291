package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// sinkTimes is how many times the rows go into the sink.
const sinkTimes = 5

// sink takes bulk requests and throws them away; all else goes to the real cluster.
type sink struct {
	*proxy
	bed     *bed
	from    filling
	buffers sync.Pool // of *bytes.Buffer

	mu      sync.Mutex
	waiting int64               // documents that are still to come
	seen    map[string]struct{} // ids that came: one that is sent again does not count
	ended   chan struct{}       // closed by the last one
}

// newSink starts a sink for a table on a free port, until the benchmark ends.
func (b *bed) newSink(ctx context.Context, from filling) (s *sink, err error) {
	s = &sink{bed: b, from: from, buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
	s.proxy, err = b.newProxy(ctx, s.take)
	return s, err
}

// fillSink makes a table of the same rows several times, in as many days as the tool has
// readers. A day costs a cluster the same however small it is: with much of it in each
// day, what is measured is the tool, as with the days of a real table.
func (b *bed) fillSink(ctx context.Context) (of filling, err error) {
	say("Filling the table for the sink ...")
	of = filling{table + "_sink", newestFirst(b.readers), sinkTimes * b.rows, sinkTimes * b.bytes}
	conn, err := pgx.Connect(ctx, b.source)
	if err != nil {
		return of, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := b.createTable(ctx, conn, of.table); err != nil {
		return of, err
	}
	tag, err := conn.Exec(ctx, `insert into `+of.table+` ("id", "data", "timestamp")
		select md5("id" || i), "data", $1::timestamptz + ("timestamp" - $1) * $2::float8
		from (select * from `+table+` order by "timestamp") rows, generate_series(1, $3::int) i`,
		firstDay(), float64(len(of.days))/float64(len(b.days)), sinkTimes)
	if err == nil && tag.RowsAffected() != of.rows {
		err = fmt.Errorf("%d rows instead of %d", tag.RowsAffected(), of.rows)
	}
	if err != nil {
		return of, fmt.Errorf("fill table %s: %w", of.table, err)
	}
	return of, settle(ctx, conn, of.table)
}

// expect begins to count n documents.
func (s *sink) expect(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.seen, s.ended = n, make(map[string]struct{}, n), make(chan struct{})
}

// take answers a bulk as a cluster that has stored all of it.
func (s *sink) take(w http.ResponseWriter, r *http.Request) (taken bool) {
	index, isBulk := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/_bulk")
	if !isBulk {
		return false
	}
	body := s.buffers.Get().(*bytes.Buffer)
	defer s.buffers.Put(body)
	body.Reset()
	body.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead) // else it is copied while it grows
	if _, err := body.ReadFrom(r.Body); err != nil {
		return true // the tool ends, or has an error of its own
	}
	documents, err := parseBulk(body.Bytes())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return true
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answerBulk(index, documents, r.URL.Query().Get("filter_path"))) // likewise
	s.count(documents)
	return true
}

func (s *sink) count(documents []document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range documents {
		if _, again := s.seen[d.ID]; again {
			continue
		}
		s.seen[d.ID] = struct{}{}
		if s.waiting--; s.waiting == 0 {
			close(s.ended)
		}
	}
}

// run has the tool copy the table into the sink. It is over when the last document was
// answered: the tool would find out now that nothing is there, so it is killed.
func (s *sink) run(args ...string) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		j, err := s.bed.newJob(s.from.table)
		if err != nil {
			return sample{}, err
		}
		s.expect(s.from.rows)
		var tool sample
		own, err := inProcess(func() (err error) {
			tool, err = j.until(ctx, s.ended, append([]string{"migrate", "--target", s.url, "--compact", "never"}, args...)...)
			return err
		})
		if err != nil {
			return sample{}, fmt.Errorf("copy into the sink: %w", err)
		}
		tool.SinkCPU, tool.bytes, tool.nodes = own.CPUSeconds, s.from.bytes, s.from.rows
		return tool, nil
	}
}
