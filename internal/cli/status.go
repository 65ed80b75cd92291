package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// statusCommand tells how far a migration is. It takes no lock, so it works
// while another process runs.
type statusCommand struct {
	targetFlags `embed:""`
	recordFlag  `embed:"" group:"Status"`
	objectFlag  `embed:""`

	Watch bool `help:"Print it again every two seconds, until Ctrl-C." group:"Output"`
}

// Help is the long help of the verb.
func (statusCommand) Help() string {
	return `Shows what the checkpoint records: a calendar of the days, what remains, what is being waited for, and which
index settings are not restored yet. With --target it also asks the cluster. It changes nothing, and works
while another process runs.

Examples:
  nodestore-migrate status
  nodestore-migrate status --watch --target http://opensearch:9200
  nodestore-migrate status --json | jq '.days[] | select(.rejected > 0)'

` + exitCodes
}

func (c *statusCommand) problems(found []string) []string {
	_, onTarget := c.index()
	if c.Target == "" && !onTarget {
		return found
	}
	return c.targetFlags.problems(found)
}

// watchInterval is often enough for a person who waits.
const watchInterval = 2 * time.Second

// Run prints the status, once or until it is interrupted.
func (c *statusCommand) Run(ctx context.Context, p *process) error {
	ctx, cancel := p.untilStopped(ctx)
	defer cancel()
	to, err := c.openTarget(ctx, p)
	if err != nil {
		return err
	}
	if to != nil {
		defer to.Close()
	}
	w := watcher{command: c, target: to, out: p.stdout, paint: newPaint(p)}
	if err := w.print(ctx); err != nil || !c.Watch {
		return err
	}
	orderly.Every(ctx, watchInterval, func(time.Time) {
		if err := w.print(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(p.stderr, "not known at present:", err) // it may come back: a server that starts again
		}
		if p.unread() {
			cancel()
		}
	})
	return nil // that is how watching ends
}

// openTarget opens the target, if one is to be asked. Its alias and the names of
// its indices are those that a checkpoint in a file is bound to.
func (c *statusCommand) openTarget(ctx context.Context, p *process) (*target.Target, error) {
	if c.Target == "" {
		return nil, nil
	}
	config, err := c.targetFlags.config(ctx, p)
	if err != nil {
		return nil, err
	}
	config.Patience = lookPatience
	if _, ok := c.index(); !ok {
		state, err := checkpoint.Read(c.Checkpoint)
		if err != nil {
			return nil, err
		}
		config.Backend.Alias, config.Backend.Index = state.Binding.Target.Alias, state.Binding.Target.Index
	}
	return target.Open(ctx, config)
}

// watcher prints the status again and again.
type watcher struct {
	command *statusCommand
	target  *target.Target // nil: not asked
	out     io.Writer
	paint   paint
	window  window
}

func (w *watcher) print(ctx context.Context) error {
	state, err := w.command.read(ctx, w.target)
	if err != nil {
		return err
	}
	s := newStatus(&state, time.Now().UTC())
	if w.target != nil {
		if err := s.ask(ctx, w.target); err != nil {
			return err
		}
	}
	w.estimate(s)
	if w.command.JSON {
		return json.NewEncoder(w.out).Encode(s)
	}
	screen := ""
	if w.command.Watch && w.paint.terminal {
		screen = "\x1b[H\x1b[2J" // home, clear
	}
	_, err = io.WriteString(w.out, screen+statusText(s, w.paint))
	return err
}

// fresh is how old a checkpoint may be for its run to be taken for alive: one
// that works saves it with every slice, every few seconds.
const fresh = time.Minute

// estimate tells how long the rest takes: by what was seen while watching,
// else by the average since the first run began. A run that is not alive has no end.
func (w *watcher) estimate(s *status) {
	w.window.add(time.Now(), s.Bytes)
	rate := w.window.rate()
	if took := s.Saved.Sub(s.Started).Seconds(); len(w.window.times) == 1 && took > 0 {
		rate = float64(s.Bytes) / took
	}
	if s.Active = time.Since(s.Saved) < fresh; s.Active && rate > 0 && s.RemainingBytes > 0 {
		s.BytesPerSecond, s.SecondsLeft = rate, float64(s.RemainingBytes)/rate
	}
}
