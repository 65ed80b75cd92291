package cli

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// verifyDisplay shows a verification's progress, as display shows a migration's.
type verifyDisplay struct {
	*display
	stdout io.Writer
	last   *verifyEvent       // nil before the first
	heard  func(verify.Event) // also told of each event, if set
}

// hear has f told of each event from now on.
func (d *verifyDisplay) hear(f func(verify.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = f
}

// start shows progress, and the state to a person who sends SIGUSR1, until the
// returned function is called.
func (d *verifyDisplay) start(v *verify.Verification, g *governor.Governor) (stop func()) {
	quiet := onUser1(func() {
		d.mu.Lock()
		last := d.last
		d.mu.Unlock()
		d.state(verifyState{headed("state"), v.Progress(), last, g.State()})
	})
	still := d.tick(func(now time.Time) { d.progress(now, v.Progress()) })
	return func() {
		quiet()
		still()
	}
}

func (d *verifyDisplay) progress(now time.Time, p verify.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.window.add(now, p.Nodes)
	rate, left := d.window.rate(), d.window.left(p.Nodes, p.PlannedNodes)
	d.show(p.Nodes, p.PlannedNodes, news{
		verifyProgress{headed("progress"), p, rate, left.Seconds()},
		slog.LevelInfo, comparedText(p, rate, left),
		[]any{"done_nodes", p.Nodes, "planned_nodes", p.PlannedNodes, "nodes_per_second", int64(rate)},
	})
}

func comparedText(p verify.Progress, rate float64, left time.Duration) string {
	return fmt.Sprintf("%s/~%s nodes, %s, %s/s%s", amount.Count(p.Nodes), amount.Count(max(p.PlannedNodes, p.Nodes)), amount.Size(p.Bytes), amount.Count(int64(rate)), leftText(left))
}

func (d *verifyDisplay) event(e verify.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	object := newVerifyEvent(e)
	if d.last = &object; d.heard != nil {
		d.heard(e)
	}
	n := news{object, slog.LevelInfo, verifyEventText(e), []any{"event", e.Kind, "day", e.Day}}
	if e.Kind == verify.Waiting || e.Kind == verify.DayCompared && e.Findings > 0 {
		n.level = slog.LevelWarn
	}
	d.record(n)
	switch {
	case e.Kind == verify.Repairing && d.events == nil:
		d.clear()
		_, _ = fmt.Fprintln(d.stdout, e.Cause) // what a repair does, or would do, is a result
	case d.bar == nil || e.Kind != verify.DayStarted: // a bar shows that as well
		d.tell(n)
	}
}
