package cli

import (
	"context"
	"errors"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// Run copies, or only restores settings.
func (c *migrateCommand) Run(ctx context.Context, p *process) error {
	r, err := c.copy(ctx, p)
	if err != nil && !errors.Is(err, migrate.ErrInterrupted) {
		return err
	}
	if r.Type != "" { // a shard that finds its part done has nothing to say, nor have restored settings to a person
		err = errors.Join(r.print(p, c.outputFlags), err)
	}
	if err != nil {
		return err
	}
	return r.verdict()
}

// copy has a result also if its error is migrate.ErrInterrupted.
func (c *migrateCommand) copy(ctx context.Context, p *process) (r result, err error) {
	w := &work{migrateCommand: c, process: p, options: c.options(p)}
	if w.show, err = newDisplay(p, c.outputFlags); err != nil {
		return r, err
	}
	defer func() { w.show.close(err) }()
	w.options.Notify = w.show.event
	if c.Rehearse.share > 0 {
		return r, w.rehearse(ctx)
	}
	if c.UntilDisk && !c.RestoreSettings && !c.CompactOnly {
		done, err := w.disks.fit(ctx, p, c, &w.options)
		defer done()
		if err != nil {
			return r, err
		}
	}
	w.governor = c.govern(w.options.Senders, w.options.BatchBytes, func(cause string) { w.show.event(migrate.Event{Kind: heldEvent, Cause: cause}) })
	w.options.Gate = &observedGate{Governor: w.governor}
	opening, opened := p.untilStopped(ctx)
	w.session, err = c.open(opening, p, w.options.Readers, w.waiting)
	opened()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.session.close()) }()
	if index, ok := c.index(); ok {
		return w.shared(ctx, index)
	}
	return w.run(ctx, c.whatToDo())
}

// open reaches both sides, and opens the checkpoint if it is a file.
func (c *migrateCommand) open(ctx context.Context, p *process, readers int, waiting func(string, time.Duration)) (s *session, err error) {
	if s, err = c.reach(ctx, p, readers+1, waiting); err != nil { // one more connection prepares the next day meanwhile
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if _, err = s.Source.CheckSilo(ctx, c.Region); err != nil {
		return s, err
	}
	state, none := c.read(ctx, s.Target)
	switch {
	case none != nil: // opening the checkpoint makes it, or says what is wrong with it
	case c.RestoreSettings: // they are the target's, whatever the source is
		s.bound.Source = state.Binding.Source
	default:
		s.bound.Moved = c.SourceMoved
		if s.bound, err = migrate.Recognise(ctx, s.Parts, state, s.bound); err != nil {
			return s, err
		}
	}
	if _, ok := c.index(); ok {
		return s, nil
	}
	if err = s.openFile(ctx, c.Checkpoint); err != nil {
		return s, err
	}
	payloads := ""
	if c.RejectedPayloads {
		payloads = c.payloads()
	}
	s.Rejects, err = migrate.OpenRejects(c.rejected(), payloads, s.rejectsSize())
	return s, err
}
