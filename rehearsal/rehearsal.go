// Package rehearsal copies a random share of a table to indices of its own that Sentry
// does not know, verifies all of it, and says what a migration of the whole will come
// to: how long, how large, and how many nodes are rejected. It leaves nothing behind.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/inspect"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// Config says what to rehearse.
type Config struct {
	Source  *source.Source
	Target  *target.Target
	To      target.Config   // of Target: the stage is reached in the same way
	Origin  node.Origin     // of Source
	Options migrate.Options // Since, Until and Retention say which days
	Share   float64         // of the bytes, above 0 and up to 1
	Seed    uint64          // which slices
	Accept  []node.Reason   // reasons for which rejected nodes are given up
	// Watch shows how far the copy is, until what it returns is called.
	Watch func(*migrate.Migration) (stop func())
}

// removeTime is how long a stage may take to go, also after an interrupt.
const removeTime = time.Minute

// leftAfter is how old a stage has to be so that it is taken for one that a rehearsal
// left that was killed.
const leftAfter = 24 * time.Hour

// Run rehearses. What it made on the target is removed in any case.
func Run(ctx context.Context, config Config) (r Report, err error) {
	r.Share = config.Share
	if err := sweep(ctx, config); err != nil {
		return r, err
	}
	drawn, err := draw(ctx, config)
	if err != nil {
		return r, err
	}
	r.Total, r.Sample = drawn.total, drawn.size()
	folder, err := os.MkdirTemp("", "nodestore-rehearsal-")
	if err != nil {
		return r, fmt.Errorf("make a folder for the rehearsal's checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	stage, err := inspect.RaiseStage(ctx, config.Target, drawn.slices[0].day)
	if err != nil {
		return r, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
		defer cancel()
		err = errors.Join(err, inspect.StrikeStage(ctx, config.Target, stage.Name))
	}()
	p := &play{Config: config, folder: folder, stage: stage, drawn: drawn}
	return p.run(ctx, r)
}

// sweep removes what rehearsals have left that were killed, but not what may be in use.
func sweep(ctx context.Context, config Config) error {
	stages, err := inspect.Stages(ctx, config.Target)
	if err != nil {
		return fmt.Errorf("look for what earlier rehearsals left: %w", err)
	}
	for _, name := range stages {
		if inspect.StageAge(name) < leftAfter {
			config.Options.Notify(migrate.Event{Kind: migrate.Warning, Cause: fmt.Sprintf(
				"indices %s-* are there: another rehearsal runs, or one was killed; the first rehearsal a day later removes them", name)})
			continue
		}
		if err := inspect.StrikeStage(ctx, config.Target, name); err != nil {
			return fmt.Errorf("remove what an earlier rehearsal left: %w", err)
		}
	}
	return nil
}

// play is one rehearsal on its stage.
type play struct {
	Config
	folder string
	stage  inspect.Stage
	drawn  sample
	parts  migrate.Parts
}

// run copies, measures, compacts and verifies, all with what a migration does it with:
// only the table has no more rows than were drawn, and the alias is another.
func (p *play) run(ctx context.Context, r Report) (_ Report, err error) {
	to := p.To
	to.Backend = p.stage.Backend
	on, err := target.Open(ctx, to)
	if err != nil {
		return r, err
	}
	defer on.Close()
	medium, err := checkpoint.OpenFile(filepath.Join(p.folder, "rehearsal.checkpoint"))
	if err != nil {
		return r, err
	}
	record, err := checkpoint.Open(ctx, medium, checkpoint.Binding{
		Source: p.Origin,
		Target: checkpoint.Target{Cluster: on.Identity().ClusterUUID, Alias: p.stage.Alias, Index: p.stage.Index},
	})
	if err != nil {
		return r, errors.Join(err, medium.Close())
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	rejects, err := migrate.OpenRejects(p.rejected(), "", migrate.RejectsSize{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, rejects.Close()) }()
	p.parts = migrate.Parts{Source: p.Source.Only(p.drawn.sources()), Target: on, Checkpoint: record, Rejects: rejects}
	if r.speeds, err = p.copy(ctx); err != nil {
		return r, err
	}
	if r.loaded, err = p.loaded(ctx); err != nil {
		return r, err
	}
	compacted := p.options()
	compacted.Compact = true
	if _, err := migrate.New(p.parts, compacted).CompactOnly(ctx); err != nil {
		return r, err
	}
	if err := p.verify(ctx, &r); err != nil {
		return r, err
	}
	record.View(func(s *checkpoint.State) { r.days = s.Days })
	return r, r.conclude(p.rejected())
}

func (p *play) rejected() string { return filepath.Join(p.folder, "rejected.jsonl") }

func (p *play) options() migrate.Options {
	o := p.Options
	o.Since, o.Until, o.Retention, o.Compact = 0, 0, migrate.KeepAll, false
	o.SwitchedAt = 0                    // Sentry does not write to a stage
	o.Budget = migrate.Budget{Share: 1} // it is to find out how many are rejected
	o.Notify = func(e migrate.Event) {
		if e.Kind != migrate.Warning || e.Day != "" { // how the stage is named is not the operator's to mend
			p.Options.Notify(e)
		}
	}
	return o
}

// speedInterval is the pause between two looks at how far the copy is.
const speedInterval = 100 * time.Millisecond

// copy copies what was drawn, and returns how many bytes had been sent when.
func (p *play) copy(ctx context.Context) (speeds []moment, err error) {
	m := migrate.New(p.parts, p.options())
	defer p.Watch(m)()
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		ticker := time.NewTicker(speedInterval)
		defer ticker.Stop()
		for begun := time.Now(); ; {
			select {
			case <-ended:
				return
			case at := <-ticker.C:
				speeds = append(speeds, moment{at.Sub(begun).Seconds(), m.Progress().SentBytes})
			}
		}
	}()
	_, err = m.Run(ctx)
	close(ended)
	<-watched
	return speeds, err
}

// loaded is what each day takes on disk before it is compact, by name.
func (p *play) loaded(ctx context.Context) (map[string]int64, error) {
	sizes := make(map[string]int64)
	for _, s := range p.drawn.slices {
		name := s.day.String()
		if _, known := sizes[name]; known {
			continue
		}
		bytes, err := inspect.StoreBytes(ctx, p.parts.Target, p.stage.IndexOf(s.day))
		if err != nil {
			return nil, err
		}
		sizes[name] = bytes
	}
	return sizes, nil
}

// verify compares everything that was copied with its rows, as Sentry reads it.
func (p *play) verify(ctx context.Context, r *Report) error {
	v := verify.New(verify.Parts{Source: p.parts.Source, Target: p.parts.Target, Checkpoint: p.parts.Checkpoint}, verify.Options{
		Level: verify.Full, Workers: p.Options.Senders, RejectedList: p.rejected(), Findings: filepath.Join(p.folder, "findings.jsonl"),
		Accept: p.Accept, Stop: p.Options.Stop, Notify: func(verify.Event) {},
		// Not all days: then the whole table is not counted.
		Since: p.drawn.slices[0].day, Until: p.drawn.slices[len(p.drawn.slices)-1].day + 1,
	})
	found, err := v.Run(ctx)
	if errors.Is(err, verify.ErrInterrupted) {
		return migrate.ErrInterrupted
	}
	if err != nil {
		return hint.Add(fmt.Errorf("verify what was copied: %w", err), hint.Of(err))
	}
	r.Verified = Verified{Nodes: found.Total.All.Nodes, Findings: found.Findings.Total, ByClass: found.Findings.Counts}
	return nil
}
