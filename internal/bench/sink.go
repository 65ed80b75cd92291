package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// sink takes bulk requests and throws them away; all else goes to the real cluster.
type sink struct {
	*proxy
	mu    sync.Mutex
	left  int64         // documents that are still to come
	ended chan struct{} // closed by the last one
}

// newSink starts a sink on a free port, until the benchmark ends.
func (b *bed) newSink(ctx context.Context) (*sink, error) {
	s := &sink{}
	buffers := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	var err error
	s.proxy, err = b.newProxy(ctx, func(w http.ResponseWriter, r *http.Request) (taken bool) {
		if !strings.HasSuffix(r.URL.Path, "/_bulk") {
			return false
		}
		body := buffers.Get().(*bytes.Buffer)
		defer buffers.Put(body)
		body.Reset()
		if _, err := io.Copy(body, r.Body); err != nil {
			return true // the tool ends, or has an error of its own
		}
		documents := bytes.Count(body.Bytes(), []byte("\n")) / 2
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(takenAnswer(documents))
		s.count(int64(documents))
		return true
	})
	return s, err
}

// takenAnswer is that of a cluster that has stored n documents, as far as the tool asks.
func takenAnswer(n int) []byte {
	const item = `{"index":{"result":"created","status":201}}`
	items := strings.Repeat(item+",", n)
	return []byte(`{"errors":false,"items":[` + strings.TrimSuffix(items, ",") + `]}`)
}

func (s *sink) count(documents int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left -= documents; s.left == 0 {
		close(s.ended)
	}
}

// run has the tool copy the table into the sink. It is over when the last document was
// answered: the tool would find out now that nothing is there, so it is killed.
func (s *sink) run(b *bed, args ...string) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		j, err := b.newJob(table)
		if err != nil {
			return sample{}, err
		}
		s.left, s.ended = b.rows, make(chan struct{})
		cmd := exec.CommandContext(ctx, b.binary(), j.arguments(append([]string{"migrate", "--target", s.url, "--compact", "never"}, args...)...)...)
		cmd.Env = environment()
		var said strings.Builder
		cmd.Stderr = &said
		started := time.Now()
		if err := cmd.Start(); err != nil {
			return sample{}, fmt.Errorf("start the tool: %w", err)
		}
		failed := make(chan error, 1)
		go func() { failed <- cmd.Wait() }()
		select {
		case err := <-failed:
			return sample{}, fmt.Errorf("the tool ended before all was sent: %w: %s", errors.Join(err, ctx.Err()), said.String())
		case <-s.ended:
		}
		measured := sample{Seconds: time.Since(started).Seconds(), PeakBytes: highWater(cmd.Process.Pid), bytes: b.bytes, nodes: b.rows}
		times, err := timesOf(cmd.Process.Pid)
		measured.CPUSeconds = float64(times.own) / ticksPerSecond
		err = errors.Join(err, cmd.Process.Kill())
		<-failed // that it was killed
		return measured, err
	}
}
