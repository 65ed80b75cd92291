package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

const barInterval = 200 * time.Millisecond

// display shows what is happening: a bar to a person at a terminal, lines to a log,
// events to a program, or nothing. It is used by several goroutines.
type display struct {
	mu     sync.Mutex
	stderr io.Writer
	log    *slog.Logger  // where there is no terminal
	file   *logFile      // nil unless --log-file
	events *json.Encoder // nil unless --json
	bar    *bar          // nil unless at a terminal that can draw one
	plain  bool          // a person reads it, without a bar
	still  bool          // no progress is shown
	quiet  bool
	window window
	heard  func(migrate.Event) // also told of each event, if set
}

// newDisplay makes a display, which is to be closed.
func newDisplay(p *process, o outputFlags) (d *display, err error) {
	d = &display{stderr: p.stderr, quiet: o.Quiet, still: o.NoProgress, log: slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: o.LogLevel}))}
	if o.JSON {
		d.events = json.NewEncoder(p.stdout)
	}
	if file, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) && !o.JSON && !o.Quiet {
		if d.plain = o.NoProgress || p.dumb(); !d.plain {
			d.bar = &bar{terminal: file}
		}
	}
	if o.LogFile != "" {
		d.file, err = openLog(o.LogFile, o.LogLevel, d.warn)
	}
	return d, err
}

// close ends the log with how the run came out.
func (d *display) close(outcome error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return
	}
	level, text := slog.LevelInfo, "done"
	if outcome != nil {
		level, text = slog.LevelError, outcome.Error()
	}
	d.record(news{nil, level, text, []any{"event", "ended", "hint", remedy(outcome)}})
	_ = d.file.file.Close()
	d.file = nil
}

// warn tells, quiet or not, of what the log file cannot tell of. The caller holds mu.
func (d *display) warn(text string) {
	if d.bar == nil && d.events == nil && !d.quiet && !d.plain {
		d.log.Warn(text)
		return
	}
	d.print("WARNING: " + text)
}

// news is what is told of: as an object to a program, as a text to a person, and with
// attributes to a log.
type news struct {
	object     any
	level      slog.Level
	text       string
	attributes []any
}

// record puts it into the log file, if there is one. The caller holds mu.
func (d *display) record(n news) {
	if d.file != nil {
		d.file.Log(context.Background(), n.level, n.text, n.attributes...)
	}
}

// tell tells of it. The caller holds mu.
func (d *display) tell(n news) {
	switch {
	case d.events != nil:
		_ = d.events.Encode(n.object)
	case d.quiet:
	case d.bar != nil, d.plain:
		d.print(n.text)
	default:
		d.log.Log(context.Background(), n.level, n.text, n.attributes...)
	}
}

// tick calls a function as often as progress is worth showing, until the
// returned one is called.
func (d *display) tick(show func(now time.Time)) (stop func()) {
	interval := lineInterval
	if d.bar != nil {
		interval = barInterval
	}
	ticking := orderly.Ticking(interval, show)
	return func() {
		ticking()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.clear()
	}
}

func (d *display) progress(now time.Time, p migrate.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.window.add(now, p.SentBytes)
	rate := d.window.rate()
	left := d.window.left(p.SentBytes, p.PlannedBytes-(p.DoneBytes-p.SentBytes))
	d.show(p.DoneBytes, p.PlannedBytes, news{
		migrateProgress{headed("progress"), p, rate, left.Seconds()},
		slog.LevelInfo, progressText(p, rate, left),
		[]any{"done_bytes", p.DoneBytes, "planned_bytes", p.PlannedBytes, "bytes_per_second", int64(rate)},
	})
}

// show shows how far it is, where there is a bar by that. The caller holds mu.
func (d *display) show(done, planned int64, n news) {
	if d.file != nil && d.file.isDue() {
		d.record(n)
	}
	switch {
	case d.still:
	case d.bar == nil:
		d.tell(n)
	default:
		d.bar.draw(done, planned, n.text)
	}
}

func progressText(p migrate.Progress, rate float64, left time.Duration) string {
	return fmt.Sprintf("%s of ~%s, %s nodes, %s/s%s", amount.Size(p.DoneBytes), amount.Size(max(p.PlannedBytes, p.DoneBytes)), amount.Count(p.DoneNodes), amount.Size(int64(rate)), leftText(left))
}

func leftText(left time.Duration) string {
	if left == 0 {
		return ""
	}
	return ", " + amount.Roughly(left) + " left"
}

// state prints the state of a run as a line of JSON.
func (d *display) state(state any) {
	text, err := json.Marshal(state)
	if err != nil {
		text = []byte("state: " + err.Error())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.print(string(text))
}

// print prints a line. The caller holds mu.
func (d *display) print(text string) {
	d.clear()
	_, _ = fmt.Fprintln(d.stderr, text) // a closed terminal must not end a copy
}

// clear wipes the bar. The caller holds mu.
func (d *display) clear() {
	if d.bar != nil {
		d.bar.clear()
	}
}

// hear has f told of each event from now on.
func (d *display) hear(f func(migrate.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = f
}

// event shows what a migration tells of.
func (d *display) event(e migrate.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.heard != nil {
		d.heard(e)
	}
	if e.Cause != "" {
		e.Cause += eventAdvice(e)
	}
	n := news{newMigrateEvent(e), eventLevel(e), eventText(e), []any{"event", e.Kind, "day", e.Day, "index", e.Index}}
	d.record(n)
	if d.bar == nil || e.Kind != migrate.DayStarted { // a bar shows that as well
		d.tell(n)
	}
}

// window is the last minute of a run, from which its present speed is taken.
type window struct {
	times []time.Time
	done  []int64 // bytes or nodes
	begun time.Time
}

const windowLength = time.Minute

func (w *window) add(now time.Time, done int64) {
	if w.begun.IsZero() {
		w.begun = now
	}
	w.times, w.done = append(w.times, now), append(w.done, done)
	for len(w.times) > 2 && now.Sub(w.times[0]) > windowLength {
		w.times, w.done = w.times[1:], w.done[1:]
	}
}

// rate is how much was done a second.
func (w *window) rate() float64 {
	last := len(w.times) - 1
	if last < 1 {
		return 0
	}
	return float64(w.done[last]-w.done[0]) / w.times[last].Sub(w.times[0]).Seconds()
}

// left is the time that a run still takes, or 0 as long as that can not be
// told: it can after ten seconds, and a hundredth of the way of this run.
func (w *window) left(done, planned int64) time.Duration {
	last, rate := len(w.times)-1, w.rate()
	if rate <= 0 || done > planned || w.times[last].Sub(w.begun) < 10*time.Second || done*100 < planned {
		return 0
	}
	return time.Duration(float64(planned-done) / rate * float64(time.Second))
}
