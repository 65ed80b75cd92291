package cli

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/plan"
)

// untilDisk ends a run before the disks are as full as they may be.
type untilDisk struct {
	since node.Day               // first of the newest days that have room; 0: all have
	full  atomic.Pointer[string] // why the run was ended
	end   context.CancelFunc
}

// fit chooses the newest days that have room, by a plan, and has the run end in good
// order where that was too hopeful. What is returned has to be called at the end.
func (u *untilDisk) fit(ctx context.Context, p *process, c *migrateCommand, o *migrate.Options) (done func(), err error) {
	stopping, end := context.WithCancel(context.Background())
	u.end = end
	go func() {
		select {
		case <-p.stop:
			end()
		case <-stopping.Done():
		}
	}()
	o.Stop = stopping.Done()
	looking, looked := p.untilStopped(ctx)
	defer looked()
	made, err := c.planned(looking, p)
	if err != nil {
		return end, err
	}
	if made.Cost == nil || len(made.Cost.Nodes) == 0 {
		return end, hint.Add(errors.New("--until-disk: it is not known how much room the nodes of the target have"),
			"nodestore-migrate plan says why; leave --until-disk out, and choose the days with --since")
	}
	for _, d := range made.Days {
		if d.Fate != plan.DayCopy {
			continue
		}
		if d.Day == made.Cost.FitsSince {
			return end, nil // the oldest one fits
		}
		break
	}
	if made.Cost.FitsSince == "" && made.Cost.SourceBytes > 0 {
		return end, hint.Add(fmt.Errorf("--until-disk: not even one more day has room on the disks of the target, which takes %.2f bytes for each byte of the source", made.Cost.Factor),
			"make room or add a node; nodestore-migrate plan has the figures")
	}
	if made.Cost.FitsSince != "" {
		u.since, err = node.ParseDay(made.Cost.FitsSince)
		o.Since = max(o.Since, u.since)
	}
	return end, err
}

// planned makes the plan of this migration.
func (c *migrateCommand) planned(ctx context.Context, p *process) (plan.Plan, error) {
	config, err := c.targetFlags.config(ctx, p)
	if err != nil {
		return plan.Plan{}, err
	}
	config.Waiting = p.waiting
	_, onTarget := c.index()
	return plan.Make(ctx, plan.Config{
		Source: c.sourceFlags.config(p, 1), Target: config, Checkpoint: plan.Record{Name: c.Checkpoint, OnTarget: onTarget, Read: c.read}, Region: c.Region,
		Since: c.Since.Day, Until: c.Until.Day, Retention: max(c.Retention.n, 0),
	})
}

// noMoreRoom ends the run.
func (u *untilDisk) noMoreRoom(cause string) {
	if u.end != nil {
		u.full.Store(&cause)
		u.end()
	}
}

// outcome adds to a result what the disks had no room for. A run that the disks ended
// was not interrupted.
func (u *untilDisk) outcome(r *result, err error) error {
	if u.since != 0 {
		r.FitsSince = u.since.String()
	}
	if cause := u.full.Load(); cause != nil {
		r.Full = *cause
		if errors.Is(err, migrate.ErrInterrupted) {
			return nil
		}
	}
	return err
}
