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

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

const (
	barInterval  = 200 * time.Millisecond
	lineInterval = 5 * time.Second
)

// display shows what is happening: a bar to a person at a terminal, lines to a log,
// events to a program, or nothing. It is used by several goroutines.
type display struct {
	mu     sync.Mutex
	stderr io.Writer
	log    *slog.Logger             // where there is no terminal
	file   *logFile                 // nil unless --log-file
	events *json.Encoder            // nil unless --json
	bar    *progressbar.ProgressBar // nil unless at a terminal
	quiet  bool
	window window
	heard  func(migrate.Event) // also told of each event, if set
}

// newDisplay makes a display, which is to be closed.
func newDisplay(p *process, o outputFlags) (d *display, err error) {
	d = &display{stderr: p.stderr, quiet: o.Quiet, log: slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: o.LogLevel}))}
	if o.JSON {
		d.events = json.NewEncoder(p.stdout)
	}
	file, ok := p.stderr.(*os.File)
	if ok && term.IsTerminal(int(file.Fd())) && !o.JSON && !o.Quiet {
		d.bar = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(p.stderr), progressbar.OptionShowBytes(false), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetWidth(barWidth(file)), progressbar.OptionSetElapsedTime(false), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(false))
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
	d.record(level, text, "event", "ended", "hint", hint.Of(outcome))
	d.write(d.file.file.Close())
	d.file = nil
}

// warn tells, quiet or not, of what the log file cannot tell of. The caller holds mu.
func (d *display) warn(text string) {
	if d.bar == nil && d.events == nil && !d.quiet {
		d.log.Warn(text)
		return
	}
	d.print("WARNING: " + text)
}

// record puts a line into the log file, if there is one. The caller holds mu.
func (d *display) record(level slog.Level, text string, attributes ...any) {
	if d.file != nil {
		d.file.Log(context.Background(), level, text, attributes...)
	}
}

// barWidth leaves room beside the bar for the longest text: a line that is
// wrapped could not be drawn over.
func barWidth(terminal *os.File) int {
	const textWidth, smallest, largest = 74, 5, 30
	columns, _, err := term.GetSize(int(terminal.Fd()))
	if err != nil || columns == 0 {
		columns = 80
	}
	return min(max(columns-textWidth, smallest), largest)
}

// start shows a migration's progress until the returned function is called.
func (d *display) start(m *migrate.Migration) (stop func()) {
	return d.tick(func(now time.Time) { d.progress(now, m.Progress()) })
}

// tick calls a function as often as progress is worth showing, until the
// returned one is called.
func (d *display) tick(show func(now time.Time)) (stop func()) {
	interval := lineInterval
	if d.bar != nil {
		interval = barInterval
	}
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-ticker.C:
				show(now)
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
		d.clear()
	}
}

// progressEvent is a line of `--json`.
type progressEvent struct {
	Type string `json:"type"` // "progress"
	migrate.Progress
	BytesPerSecond float64 `json:"bytes_per_second"`
	SecondsLeft    float64 `json:"seconds_left,omitempty"` // absent until it means something
}

func (d *display) progress(now time.Time, p migrate.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.window.add(now, p.SentBytes)
	rate := d.window.rate()
	left := d.window.left(p.SentBytes, p.PlannedBytes-(p.DoneBytes-p.SentBytes))
	d.show(progressEvent{"progress", p, rate, left.Seconds()}, p.DoneBytes, p.PlannedBytes, progressText(p, rate, left),
		"done_bytes", p.DoneBytes, "planned_bytes", p.PlannedBytes, "bytes_per_second", int64(rate))
}

// show shows how far it is, as what a program, a bar or a log gets. The caller
// holds mu.
func (d *display) show(event any, done, planned int64, text string, attributes ...any) {
	if d.file != nil && d.file.isDue() {
		d.record(slog.LevelInfo, text, attributes...)
	}
	switch {
	case d.events != nil:
		d.write(d.events.Encode(event))
	case d.quiet:
	case d.bar != nil:
		d.bar.ChangeMax64(max(planned, done, 1))
		d.bar.Describe(text)
		d.write(d.bar.Set64(done))
	default:
		d.log.Info(text, attributes...)
	}
}

// write drops the error of a display: a closed terminal must not end a copy.
func (d *display) write(error) {}

func progressText(p migrate.Progress, rate float64, left time.Duration) string {
	text := fmt.Sprintf("%s of ~%s, %s nodes, %s/s", size(p.DoneBytes), size(max(p.PlannedBytes, p.DoneBytes)), count(p.DoneNodes), size(int64(rate)))
	return text + leftText(left)
}

func leftText(left time.Duration) string {
	if left == 0 {
		return ""
	}
	return ", " + roughly(left) + " left"
}

// line prints a line of its own.
func (d *display) line(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.print(text)
}

// print prints a line. The caller holds mu.
func (d *display) print(text string) {
	if d.bar != nil {
		d.write(d.bar.Clear())
	}
	_, err := fmt.Fprintln(d.stderr, text)
	d.write(err)
}

// hear has f told of each event from now on.
func (d *display) hear(f func(migrate.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = f
}

func (d *display) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		d.write(d.bar.Clear())
	}
}

// jsonEvent is a line of `--json`.
type jsonEvent struct {
	Type string    `json:"type"` // "event"
	Time time.Time `json:"time"`
	migrate.Event
}

// event shows what a migration tells of.
func (d *display) event(e migrate.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.heard != nil {
		d.heard(e)
	}
	e.Cause = advice(e)
	d.tell(jsonEvent{"event", time.Now().UTC(), e}, eventLevel(e), eventText(e), "event", e.Kind, "day", e.Day, "index", e.Index)
}

// tell tells of an event, as show shows progress. The caller holds mu.
func (d *display) tell(event any, level slog.Level, text string, attributes ...any) {
	d.record(level, text, attributes...)
	switch {
	case d.events != nil:
		d.write(d.events.Encode(event))
	case d.quiet:
	case d.bar != nil && isDayStarted(event): // the bar shows it
	case d.bar != nil:
		d.print(text)
	default:
		d.log.Log(context.Background(), level, text, attributes...)
	}
}

func isDayStarted(event any) bool {
	switch e := event.(type) {
	case jsonEvent:
		return e.Kind == migrate.DayStarted
	case verifyEvent:
		return e.Kind == verify.DayStarted
	}
	return false
}

// eventLevel is how urgent an event is in a log.
func eventLevel(e migrate.Event) slog.Level {
	switch e.Kind {
	case migrate.Warning, migrate.Missing, migrate.Kept, migrate.Unexplained, migrate.Doubled, migrate.Lost, migrate.Waiting, migrate.Retry, migrate.Dropped:
		return slog.LevelWarn
	case heldEvent:
		if e.Cause != "" {
			return slog.LevelWarn
		}
	}
	return slog.LevelInfo
}

// advice is the cause of an event, with the flag that does something about it.
func advice(e migrate.Event) string {
	flags := map[migrate.Kind]string{
		migrate.Missing:     "; --copy-missing copies them",
		migrate.Kept:        "; --remove-vanished removes them",
		migrate.Unexplained: "; --switched-at says since when it writes",
		migrate.Doubled:     "; if it writes to OpenSearch already, --switched-at says since when",
	}
	return e.Cause + flags[e.Kind]
}

func eventText(e migrate.Event) string {
	switch e.Kind {
	case migrate.DayStarted:
		return fmt.Sprintf("%s: %s nodes, %s to copy", e.Day, count(e.Nodes), size(e.Bytes))
	case migrate.DaySealed:
		return fmt.Sprintf("%s: sealed, %s documents in %s", e.Day, count(e.Nodes), e.Index)
	case migrate.DayCompact:
		return fmt.Sprintf("%s: compact, %s in %s", e.Day, size(e.Bytes), e.Index)
	case migrate.Compacting:
		return fmt.Sprintf("all is copied; compacting %s", plural(e.Nodes, "day"))
	case migrate.DayOpen:
		return fmt.Sprintf("%s: copied so far; Sentry may still write to it, so it stays open", e.Day)
	case migrate.Retry:
		return fmt.Sprintf("%s: reading a slice again: %s", e.Day, e.Cause)
	case migrate.Waiting:
		return fmt.Sprintf("waiting %s: %s", e.Pause.Round(time.Millisecond), e.Cause)
	case migrate.Restored:
		return fmt.Sprintf("%s: settings given back", e.Index)
	case templateEvent:
		return fmt.Sprintf("wrote index template %s, as the backend would", e.Index)
	case shardEvent:
		return e.Cause
	case limitsEvent:
		return "limits: " + e.Cause
	case heldEvent:
		if e.Cause == "" {
			return "going on"
		}
		return "held: " + e.Cause
	case migrate.CaughtUp:
		return fmt.Sprintf("caught up to %s ago; %s nodes were new", roughly(e.Behind), count(e.Nodes))
	case migrate.Moved:
		return fmt.Sprintf("%s: removed %s stale copies of nodes that were rewritten", e.Index, count(e.Nodes))
	case migrate.Vanished:
		return fmt.Sprintf("%s: removed %s nodes that were deleted at the source", e.Index, count(e.Nodes))
	case migrate.Dropped:
		return fmt.Sprintf("%s: index %s is gone and is not made again; its nodes count as out of retention", e.Day, e.Index)
	case migrate.Lost:
		return fmt.Sprintf("%s: LOST: index %s with %s nodes is gone, and no retention covers the day; --copy-again %[1]s copies it again", e.Day, e.Index, count(e.Nodes))
	case migrate.Late:
		return fmt.Sprintf("%s: %s rows without a document, committed late: copying them to %s", e.Day, count(e.Nodes), e.Index)
	case migrate.Warning, migrate.Missing, migrate.Kept, migrate.Unexplained, migrate.Doubled:
		return "WARNING: " + e.Cause
	}
	return fmt.Sprintf("%s %s %s", e.Kind, e.Day, e.Cause)
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

func size(bytes int64) string { return amount.Size(bytes) }

func count(n int64) string { return amount.Count(n) }

func roughly(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
