package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	tool "github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// servers are what a world is made on.
type servers struct{ postgres, openSearch string }

// world is one history as it happens.
type world struct {
	sentry
	model    model
	ctx      context.Context
	postgres string
	table    string // as the tool reads it
	dir      string
	gate     *gate
	clock    atomic.Int64 // µs
	writes   int          // makes the bytes of every write unique
	began    bool         // the tool has run
	failure  error        // of a step
	adjust   func(*tool.Options)
	verb     func(*tool.Migration, context.Context) (tool.Summary, error)
	summary  tool.Summary // of the last run
}

// start is where the clock of every history begins.
func start() time.Time { return time.Date(2025, 3, 10, 13, 0, 0, 0, time.UTC) }

func newWorld(ctx context.Context, on servers, shape shape, dir string) (*world, error) {
	name := "sim" + strings.ToLower(rand.Text()[:12])
	sql, err := pgx.Connect(ctx, on.postgres)
	if err != nil {
		return nil, err
	}
	w := &world{
		sentry: sentry{sql: sql, relation: name, shape: shape, target: on.openSearch, alias: name},
		model:  model{foreign: make(map[node.Day]bool)}, ctx: ctx, postgres: on.postgres, dir: dir,
		verb: (*tool.Migration).Run,
	}
	w.clock.Store(start().UnixMicro())
	w.gate = newGate(on.openSearch, w.perform)
	w.table, err = w.createTable(ctx)
	if err == nil {
		err = w.bootstrap()
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// bootstrap makes the template, as the backend does when Sentry starts.
func (w *world) bootstrap() error {
	t, err := target.Open(w.ctx, w.config(w.target))
	if err != nil {
		return err
	}
	defer t.Close()
	_, err = t.EnsureTemplate(w.ctx)
	return err
}

func (w *world) close() error {
	w.gate.close()
	ctx := context.WithoutCancel(w.ctx)
	_, err := w.request(ctx, http.MethodDelete, "/"+w.alias+"-*", nil, nil, http.StatusNotFound)
	_, err2 := w.request(ctx, http.MethodDelete, "/_index_template/"+w.alias, nil, nil, http.StatusNotFound)
	_, err3 := w.sql.Exec(ctx, "drop table if exists "+w.relation+" cascade")
	return errors.Join(err, err2, err3, w.sql.Close(ctx))
}

func (w *world) config(url string) target.Config {
	return target.Config{URLs: []string{url}, Patience: 20 * time.Second, Backend: target.Backend{
		Alias: w.alias, Template: w.alias, Index: w.alias + "-{date}", Pattern: w.alias + "-*",
		Codec: "best_compression", Shards: 1, Replicas: 0,
	}}
}

func (w *world) now() int64 { return w.clock.Load() }

// perform lets a step happen, and remembers the first that could not.
func (w *world) perform(s step) {
	if w.failure == nil {
		w.failure = w.do(s)
	}
}

func (w *world) do(s step) error {
	switch s.do {
	case write:
		return w.write(s)
	case remove:
		return w.remove(s.id)
	case wait:
		w.clock.Add(s.span.Microseconds())
		return nil
	case cleanup:
		return w.cleanup()
	case drop:
		return w.drop()
	case flip:
		if w.model.switched == 0 {
			w.model.switched = w.now()
		}
		return nil
	case straggle:
		return w.straggle(s)
	case leave:
		return w.leave(s)
	}
	return w.migrate(s.run)
}

// justBefore is a millisecond of the last one or two seconds that no other write
// has: while the clock stands still, no two nodes are alike to the tool.
func (w *world) justBefore() int64 { return w.now() - int64(2000-w.writes)*1000 }

// version makes the next write. A timestamp only moves forward.
func (w *world) version(s step, at int64) version {
	w.writes++
	v := version{inner: fmt.Sprintf(`{"id":%d,"write":%d}`+"\n", s.id, w.writes), at: at, kind: s.kind}
	if s.kind == pickled {
		v.inner = fmt.Sprintf("\x80\x02K%c.", w.writes)
	}
	if history := w.model.facts[s.id].history; len(history) > 0 {
		v.at = max(v.at, history[len(history)-1].at+1000)
	}
	return v
}

func (w *world) write(s step) error {
	if w.model.switched != 0 {
		s.kind = readable
		v := w.version(s, w.now())
		v.at = w.now() // the backend takes the document's time from its clock
		w.model.facts[s.id].written = &v
		w.model.facts[s.id].gone = false
		return w.writeDocument(w.ctx, s.id, v)
	}
	v := w.version(s, w.justBefore()-s.span.Microseconds())
	w.model.rewrote(s.id, v)
	return w.writeRow(w.ctx, s.id, v)
}

// straggle commits a row at the source after the switch: its transaction began
// before, or its process was not restarted yet.
func (w *world) straggle(s step) error {
	f, at := w.model.facts[s.id], w.justBefore()-s.span.Microseconds()
	v := w.version(s, at)
	if w.model.switched == 0 || v.at != at || f.written != nil || f.gone || f.perhaps {
		return nil
	}
	w.model.rewrote(s.id, v)
	return w.writeRow(w.ctx, s.id, v)
}

func (w *world) remove(id int) error {
	if w.model.switched == 0 {
		w.model.facts[id].row = nil
		return w.deleteRow(w.ctx, id)
	}
	w.model.erase(id)
	return w.deleteDocument(w.ctx, id)
}

// leave puts an older version of a row into the day of that version.
func (w *world) leave(s step) error {
	row := w.model.facts[s.id].row
	if w.began || row == nil {
		return nil
	}
	v := w.version(s, 0)
	v.at = row.at - s.span.Microseconds()
	w.model.left(s.id, v)
	return w.writeDocument(w.ctx, s.id, v)
}

func (w *world) cleanup() error {
	cutoff := w.now() - retention*day.Microseconds()
	if w.model.switched == 0 {
		for id := range w.model.facts {
			if row := w.model.facts[id].row; row != nil && row.at < cutoff {
				w.model.facts[id].row = nil
			}
		}
		return w.deleteRowsBefore(w.ctx, cutoff)
	}
	days, err := w.indices(w.ctx)
	for _, n := range days {
		if err == nil && n.Start() < cutoff {
			w.model.dropped(n)
			err = w.dropIndex(w.ctx, n)
		}
	}
	return err
}

// drop drops the oldest index, if its day is over.
func (w *world) drop() error {
	days, err := w.indices(w.ctx)
	if err != nil || len(days) == 0 || days[0].End() > w.now()-day.Microseconds() {
		return err
	}
	w.model.dropped(days[0])
	return w.dropIndex(w.ctx, days[0])
}

// errKilled ends a run as a kill would.
var errKilled = errors.New("killed")

// migrate runs the tool, and looks at what Sentry sees then if nothing came in
// between.
func (w *world) migrate(r run) error {
	rows := w.model.seen()
	summary, err := w.runTool(r)
	if errors.Is(err, errKilled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the tool: %w", err)
	}
	w.model.ended(rows)
	if summary.Borrowed != 0 {
		return fmt.Errorf("%d indices are still borrowed", summary.Borrowed)
	}
	if len(r.during) > 0 {
		return nil
	}
	return w.compare(w.model.between)
}

// runTool is the tool's verb migrate, without its command line.
func (w *world) runTool(r run) (summary tool.Summary, err error) {
	w.began = true
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.gate.begin(r, cancel)
	defer func() {
		if ctx.Err() != nil && w.ctx.Err() == nil {
			err = errKilled
		}
	}()
	var parts tool.Parts
	if parts.Source, err = source.Open(ctx, source.Config{ConnString: w.postgres, Table: w.table, Connections: 2}); err != nil {
		return summary, err
	}
	defer parts.Source.Close()
	if parts.Target, err = target.Open(ctx, w.config(w.gate.server.URL)); err != nil {
		return summary, err
	}
	defer parts.Target.Close()
	medium, err := checkpoint.OpenFile(filepath.Join(w.dir, "checkpoint"))
	if err != nil {
		return summary, err
	}
	parts.Checkpoint, err = checkpoint.Open(ctx, medium, checkpoint.Binding{
		Source: checkpoint.Source{Database: "sim", Table: w.table}, Target: checkpoint.Target{Cluster: "sim", Alias: w.alias, Index: w.alias + "-{date}"},
	})
	if err != nil {
		return summary, errors.Join(err, medium.Close())
	}
	defer func() { err = errors.Join(err, parts.Checkpoint.Close()) }()
	return w.runMigration(ctx, parts)
}

func (w *world) runMigration(ctx context.Context, parts tool.Parts) (summary tool.Summary, err error) {
	var size tool.RejectsSize
	parts.Checkpoint.View(func(state *checkpoint.State) { size = tool.RejectsSize(state.Rejected) })
	if parts.Rejects, err = tool.OpenRejects(filepath.Join(w.dir, "rejected"), "", size); err != nil {
		return summary, err
	}
	defer func() { err = errors.Join(err, parts.Rejects.Close()) }()
	options := tool.Options{
		Readers: 1, Senders: 2, BatchBytes: 64 << 10, RemoveVanished: true,
		Retention: int(w.model.keep / day), SwitchedAt: w.model.switched,
		Now: func(context.Context) (int64, error) { return w.now(), nil },
	}
	if w.adjust != nil {
		w.adjust(&options)
	}
	w.summary, err = w.verb(tool.New(parts, options), ctx)
	return w.summary, err
}

// compare reads every id as Sentry does.
func (w *world) compare(wanted func(id int, now int64) expectation) error {
	for id := range ids {
		seen, err := w.read(w.ctx, id)
		if err != nil {
			return err
		}
		want := wanted(id, w.now())
		absent := want.absent && (len(seen.indices) == 0 || want.doubled && len(seen.indices) > 1)
		if !absent && (len(seen.indices) != 1 || !slices.Contains(want.inner, seen.inner)) {
			return fmt.Errorf("id %d: Sentry finds it in %q and reads %q; want %s", id, seen.indices, seen.inner, want)
		}
	}
	return nil
}

// end is the rest of a history: the switch if it is not over, the last run, and
// one more that must find nothing to do.
func (w *world) end() error {
	for _, s := range []step{{do: flip}, {do: migrate}} {
		if err := w.do(s); err != nil {
			return err
		}
	}
	if err := w.compare(w.model.final); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	summary, err := w.runTool(run{})
	if err == nil && summary.Run.Nodes > 0 {
		err = fmt.Errorf("one more run sends %d nodes again", summary.Run.Nodes)
	}
	if err == nil {
		err = w.compare(w.model.final)
	}
	if err == nil {
		err = w.settled()
	}
	if err != nil {
		return fmt.Errorf("one more run: %w", err)
	}
	return nil
}

// settled looks for what a run may have left behind: a loading alias, and
// settings that are not the template's.
func (w *world) settled() error {
	var found map[string]struct {
		Aliases  map[string]any
		Settings struct{ Index map[string]any }
	}
	if _, err := w.request(w.ctx, http.MethodGet, "/"+w.alias+"-*", nil, &found); err != nil {
		return err
	}
	for name, index := range found {
		if _, set := index.Settings.Index["refresh_interval"]; set || len(index.Aliases) != 1 {
			return fmt.Errorf("index %s has settings %v, aliases %v", name, index.Settings.Index, index.Aliases)
		}
	}
	return nil
}
