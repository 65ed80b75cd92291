// Package rehearsal copies a random share of a table to indices of its own that Sentry
// does not know, verifies all of it, and says what a migration of the whole will come
// to: how long, how large, and how many nodes are rejected. It leaves nothing behind.
package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// leftAfter is how old a stage has to be so that it is taken for one that a rehearsal
// left that was killed.
const leftAfter = 24 * time.Hour

// Run rehearses. What it made on the target is removed in any case.
func Run(ctx context.Context, config Config) (r Report, err error) {
	r.Share, r.Seed = config.Share, config.Seed
	if err := sweep(ctx, config); err != nil {
		return r, err
	}
	drawn, err := draw(ctx, config)
	if err != nil {
		return r, err
	}
	r.Total, r.Sample = drawn.total(), drawn.drawn()
	folder, err := os.MkdirTemp("", "nodestore-rehearsal-")
	if err != nil {
		return r, hint.Add(fmt.Errorf("make a folder for the rehearsal's checkpoint: %w", err), hintFolder)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	stage, err := inspect.RaiseStage(ctx, config.Target, drawn.days[0].Day)
	if err != nil {
		return r, err
	}
	defer func() { err = afterwards(config, err, inspect.StrikeStage(ctx, config.Target, stage.Name)) }()
	p := &play{Config: config, folder: folder, stage: stage, drawn: drawn}
	return p.run(ctx, r)
}

const hintFolder = "set TMPDIR to a folder that this user may write to; for a pod whose root is read-only, an emptyDir that is mounted there"

// afterwards has the operator told what is left also where another error is what
// the run ends with.
func afterwards(config Config, err, left error) error {
	if err == nil || left == nil {
		return errors.Join(err, left)
	}
	config.Options.Notify(migrate.Event{Kind: migrate.Warning, Cause: left.Error() + "; " + hint.Of(left)})
	return err
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
	p.parts = migrate.Parts{Source: p.Source.Only(p.drawn.slices()), Target: on, Checkpoint: record, Rejects: rejects}
	var o outcome
	if o.speeds, err = p.copy(ctx); err != nil {
		return r, err
	}
	if o.loaded, err = p.loaded(ctx); err != nil {
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
	record.View(func(s *checkpoint.State) {
		for _, d := range p.drawn.days {
			day := s.Days[d.String()]
			if day == nil { // its rows went before their turn
				day = &checkpoint.Day{}
			}
			o.bytes, o.stored = append(o.bytes, float64(day.Bytes)), append(o.stored, float64(day.Stored))
		}
	})
	if o.rejected, err = p.reasons(ctx); err != nil {
		return r, err
	}
	r.conclude(p.drawn, o)
	return r, nil
}

// reasons counts what was rejected, for each day.
func (p *play) reasons(ctx context.Context) (map[node.Reason][]float64, error) {
	counts := make(map[node.Reason][]float64)
	err := p.parts.Rejects.Each(ctx, func(lines []byte) error {
		for line := range bytes.Lines(lines) {
			var one migrate.Rejected
			if err := json.Unmarshal(line, &one); err != nil {
				return fmt.Errorf("read the rehearsal's rejected nodes: %w", err)
			}
			if counts[one.Reason] == nil {
				counts[one.Reason] = make([]float64, len(p.drawn.days))
			}
			i := slices.IndexFunc(p.drawn.days, func(d drawnDay) bool { return strings.HasPrefix(one.Timestamp, d.String()) })
			if i >= 0 {
				counts[one.Reason][i]++
			}
		}
		return nil
	})
	return counts, err
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

// loaded is what each day takes on disk before it is compact.
func (p *play) loaded(ctx context.Context) (sizes []float64, err error) {
	for _, d := range p.drawn.days {
		size, err := inspect.StoreBytes(ctx, p.parts.Target, p.stage.IndexOf(d.Day))
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, float64(size))
	}
	return sizes, nil
}

// verify compares everything that was copied with its rows, as Sentry reads it.
func (p *play) verify(ctx context.Context, r *Report) error {
	v := verify.New(verify.Parts{Source: p.parts.Source, Target: p.parts.Target, Checkpoint: p.parts.Checkpoint}, verify.Options{
		Level: verify.Full, Workers: p.Options.Senders, RejectedList: p.rejected(), Findings: filepath.Join(p.folder, "findings.jsonl"),
		Accept: p.Accept, Stop: p.Options.Stop, Notify: func(verify.Event) {},
		// Not all days: then the whole table is not counted.
		Since: p.drawn.days[0].Day, Until: p.drawn.days[len(p.drawn.days)-1].Day + 1,
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
