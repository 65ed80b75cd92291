package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// verifyDisplay shows a verification's progress, as display shows a migration's.
type verifyDisplay struct {
	*display
}

// start shows progress until the returned function is called.
func (d *verifyDisplay) start(v *verify.Verification) (stop func()) {
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		ticker := time.NewTicker(lineInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				d.progress(v.Progress())
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

func (d *verifyDisplay) progress(now verify.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.events != nil:
		d.write(d.events.Encode(struct {
			Type string `json:"type"`
			verify.Progress
		}{"progress", now}))
	case !d.quiet:
		_, err := fmt.Fprintf(d.stderr, "%s ids and payloads compared, %s; the source has %s nodes\n", count(now.Nodes), size(now.Bytes), count(now.PlannedNodes))
		d.write(err)
	}
}

func (d *verifyDisplay) event(e verify.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.events != nil:
		d.write(d.events.Encode(struct {
			Type string    `json:"type"`
			Time time.Time `json:"time"`
			verify.Event
		}{"event", time.Now().UTC(), e}))
	case !d.quiet:
		_, err := fmt.Fprintln(d.stderr, verifyEventText(e))
		d.write(err)
	}
}

func verifyEventText(e verify.Event) string {
	switch e.Kind {
	case verify.DayStarted:
		return fmt.Sprintf("%s: %s nodes to compare", e.Day, count(e.Nodes))
	case verify.DayCompared:
		return fmt.Sprintf("%s: compared, %s findings", e.Day, count(e.Findings))
	case verify.Resumed:
		return "going on with the verification that was interrupted"
	case verify.LookingAgain:
		return fmt.Sprintf("%s nodes do not look right: looking again", count(e.Nodes))
	case verify.Waiting:
		return fmt.Sprintf("waiting %s: %s", e.Pause.Round(time.Millisecond), e.Cause)
	case verify.Repairing:
		return e.Cause
	}
	return fmt.Sprintf("%s %s %s", e.Kind, e.Day, e.Cause)
}
