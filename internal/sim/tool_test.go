package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	tool "github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// errKilled ends a run as a kill would.
var errKilled = errors.New("killed")

// migrate runs the tool, and looks at what Sentry sees then if nothing came in
// between.
func (w *world) migrate(r run) error {
	if r.second {
		w.model.shared()
	}
	if r.again {
		w.model.asked()
	}
	w.running++
	defer func() { w.running-- }()
	rows, lost := w.model.seen(), maps.Clone(w.model.lost)
	summary, err := w.runTool(r)
	switch {
	case err != nil && !r.obedient && strings.Contains(err.Error(), "nothing was removed"):
		return w.hesitate(r)
	case errors.Is(err, errKilled), err != nil && w.excused(r, err):
		return nil
	case err != nil:
		return fmt.Errorf("the tool: %w", err)
	}
	w.model.ended(rows, r)
	if r.again {
		w.model.restored(w.wanted, lost)
	}
	if summary.Borrowed != 0 {
		return fmt.Errorf("%d indices are still borrowed", summary.Borrowed)
	}
	if len(r.during) > 0 || w.running > 1 || w.model.spoiled {
		return nil
	}
	return w.compare(w.model.between)
}

// hesitate is what the operator does when the tool asks whether so much was
// deleted at the source: that is so, unless the table was emptied.
func (w *world) hesitate(r run) error {
	if w.model.emptied {
		w.model.loosen()
		return nil
	}
	r.obedient, r.during = true, nil
	return w.migrate(r)
}

// excused reports whether a run may end with an error: where it was given wrong
// answers, where it would make matters worse, and where Sentry has switched and
// nobody says so.
func (w *world) excused(r run, err error) bool {
	faulted := slices.ContainsFunc(r.during, func(e event) bool { return e.step.do == fault })
	unnamed := w.model.early != 0 && w.model.switched == 0 && strings.Contains(err.Error(), "switch")
	return w.model.spoiled || faulted || unnamed
}

// parts are what the tool works with.
type parts struct {
	source     *source.Source
	target     *target.Target
	checkpoint *checkpoint.Checkpoint
	dir        string
}

// withParts opens what the tool works with, as its command line does, and closes
// it after the work, which a crash of the run ends.
func (w *world) withParts(r run, work func(context.Context, parts) error) (err error) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	gate, p := w.gate, parts{dir: w.dir}
	if r.second {
		gate, p.dir = w.other, filepath.Join(w.dir, "second")
	}
	gate.begin(r, cancel)
	defer func() {
		if ctx.Err() != nil && w.ctx.Err() == nil {
			err = errKilled
		}
	}()
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if p.source, err = source.Open(ctx, source.Config{ConnString: w.postgres, Table: w.table, Connections: 2}); err != nil {
		return err
	}
	defer p.source.Close()
	if p.target, err = target.Open(ctx, w.config(gate.server.URL)); err != nil {
		return err
	}
	defer p.target.Close()
	medium, err := checkpoint.OpenFile(filepath.Join(p.dir, "checkpoint"))
	if err != nil {
		return err
	}
	p.checkpoint, err = checkpoint.Open(ctx, medium, checkpoint.Binding{
		Source: node.Origin{Database: "sim", Table: w.table}, Target: checkpoint.Target{Cluster: "sim", Alias: w.alias, Index: w.alias + "-{date}"},
	})
	if err != nil {
		return errors.Join(err, medium.Close())
	}
	defer func() { err = errors.Join(err, p.checkpoint.Close()) }()
	return work(ctx, p)
}

// runTool is the tool's verb migrate, without its command line.
func (w *world) runTool(r run) (summary tool.Summary, err error) {
	w.began = true
	err = w.withParts(r, func(ctx context.Context, p parts) (err error) {
		summary, err = w.runMigration(ctx, p, r)
		return err
	})
	return summary, err
}

func (w *world) runMigration(ctx context.Context, p parts, r run) (summary tool.Summary, err error) {
	var size tool.RejectsSize
	p.checkpoint.View(func(state *checkpoint.State) { size = tool.RejectsSize(state.Rejected) })
	rejects, err := tool.OpenRejects(filepath.Join(p.dir, "rejected"), "", size)
	if err != nil {
		return summary, err
	}
	defer func() { err = errors.Join(err, rejects.Close()) }()
	options := tool.Options{
		Readers: 1, Senders: 2, BatchBytes: 64 << 10, RemoveVanished: r.obedient,
		Retention: int(w.model.keep / day), SwitchedAt: w.model.switched,
		Now: func(context.Context) (int64, error) { return w.now(), nil },
	}
	if r.again {
		w.wanted = lostDays(p.checkpoint)
		options.CopyMissing, options.CopyAgain = true, w.wanted
	}
	if w.adjust != nil {
		w.adjust(&options)
	}
	w.summary, err = w.verb(tool.New(tool.Parts{Source: p.source, Target: p.target, Checkpoint: p.checkpoint, Rejects: rejects}, options), ctx)
	return w.summary, err
}

// lostDays are those that the tool has told the operator of.
func lostDays(c *checkpoint.Checkpoint) (lost []node.Day) {
	c.View(func(state *checkpoint.State) {
		for name, d := range state.Days {
			if n, err := node.ParseDay(name); err == nil && !d.Lost.IsZero() {
				lost = append(lost, n)
			}
		}
	})
	return lost
}

// check verifies, and looks at whether what the verdict says is so.
func (w *world) check(r run) error {
	var report *verify.Report
	err := w.withParts(r, func(ctx context.Context, p parts) (err error) {
		report, err = w.verification(p, r).Run(ctx)
		return err
	})
	switch {
	case errors.Is(err, errKilled):
		return nil
	case err != nil && (w.excused(r, err) || strings.Contains(err.Error(), "nothing was copied")):
		return nil
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	}
	w.verdict = report.Verdict
	if !w.verdict.SafeToDrop {
		return nil
	}
	return w.judge(r)
}

func (w *world) verification(p parts, r run) *verify.Verification {
	options := verify.Options{
		Level: verify.Sample, Workers: 2, Pauses: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond},
		RejectedList: filepath.Join(p.dir, "rejected"), Findings: filepath.Join(p.dir, "findings"),
	}
	if r.full {
		options.Level = verify.Full
	}
	if r.accept {
		options.Accept = []node.Reason{node.Pickle}
	}
	return verify.New(verify.Parts{Source: p.source, Target: p.target, Checkpoint: p.checkpoint}, options)
}

// judge compares a verdict of safe with what Sentry reads.
func (w *world) judge(r run) error {
	if w.model.switched == 0 {
		return errors.New("safe, but Sentry has not switched")
	}
	if !r.accept {
		for id, f := range w.model.facts {
			if f.row != nil && f.row.kind == pickled && f.written == nil && !w.model.expired(*f.row, w.now()) {
				return fmt.Errorf("safe, but id %d is rejected, and nobody accepted that", id)
			}
		}
	}
	err := w.compare(func(id int, now int64) expectation {
		e, ok := w.model.promised(id, now)
		e.nothing = !ok
		return e
	})
	if err != nil {
		return fmt.Errorf("safe, but %w", err)
	}
	return nil
}
