package verify_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// lock is a gate that closes at the first question about payloads, until it is opened.
type lock struct {
	mu     sync.Mutex
	inside int
	bytes  int
	open   chan struct{}
}

func (l *lock) Enter(ctx context.Context, bytes int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside++
	l.bytes += bytes
	return ctx.Err()
}

func (l *lock) Leave(int, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
}

func (l *lock) Calm(ctx context.Context) error {
	l.mu.Lock()
	closed := l.bytes > 0
	l.mu.Unlock()
	if !closed {
		return nil
	}
	select {
	case <-l.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestHeldInItsMiddle holds a verification back while it reads: it leaves no transaction
// open at the source, and when it may resume it has compared each payload once.
func TestHeldInItsMiddle(t *testing.T) {
	w := newWorld(t, 7500, synth.Clean()) // far more a day than sockets hold
	o := w.options(verify.Full)
	o.Workers = 2
	gate := &lock{open: make(chan struct{})}
	o.Gate = gate
	done := make(chan *verify.Report, 1)
	go func() {
		report, err := verify.New(w.parts, o).Run(t.Context())
		if err != nil {
			t.Error(err)
		}
		done <- report
	}()
	open := func() (n int) {
		row := w.db.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and application_name = 'nodestore-migrate' and xact_start is not null`)
		w.must(row.Scan(&n))
		return n
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	await := func(what string, there func() bool) {
		t.Helper()
		for !there() {
			select {
			case <-deadline:
				close(gate.open)
				<-done
				t.Fatalf("it does not come to this: %s", what)
			case <-done:
				t.Fatalf("it ended before %s", what)
			case <-ticker.C:
			}
		}
	}
	await("it was held in the middle of a reading", func() bool {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.bytes > 0 && open() > 0
	})
	await("its transactions were over", func() bool { return open() == 0 })
	close(gate.open)
	report := <-done
	if report == nil {
		return
	}
	if report.Total.All.Nodes != int64(len(w.rows)) || report.Findings.Total != 0 || !report.Complete {
		t.Errorf("%d of %d payloads compared, %d findings, complete %t", report.Total.All.Nodes, len(w.rows), report.Findings.Total, report.Complete)
	}
	if gate.inside != 0 || gate.bytes == 0 {
		t.Errorf("%d questions are still under way, %d bytes were asked for", gate.inside, gate.bytes)
	}
}
