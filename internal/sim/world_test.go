package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	tool "github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
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
	other    *gate        // of the second operator
	clock    atomic.Int64 // µs
	writes   int          // makes the bytes of every write unique
	began    bool         // the tool has run
	failure  error        // of a step
	adjust   func(*tool.Options)
	verb     func(*tool.Migration, context.Context) (tool.Summary, error)
	summary  tool.Summary   // of the last run
	wanted   []node.Day     // lost days that the last run was to copy again
	running  int            // runs of the tool that are under way
	verdict  verify.Verdict // of the last verification
}

// start is where the clock of every history begins.
func start() time.Time { return time.Date(2025, 3, 10, 13, 0, 0, 0, time.UTC) }

func newWorld(ctx context.Context, on servers, setting setting, dir string) (*world, error) {
	name := "sim" + strings.ToLower(rand.Text()[:12])
	sql, err := pgx.Connect(ctx, on.postgres)
	if err != nil {
		return nil, err
	}
	w := &world{
		sentry: sentry{sql: sql, relation: name, shape: setting.shape, target: on.openSearch, alias: name},
		model:  model{setting: setting, foreign: make(map[node.Day]bool), lost: make(map[node.Day]int)}, ctx: ctx, postgres: on.postgres, dir: dir,
		verb: (*tool.Migration).Run,
	}
	w.clock.Store(start().UnixMicro())
	w.gate, w.other = newGate(on.openSearch, w.perform), newGate(on.openSearch, w.perform)
	w.gate.closed, w.other.closed = setting.closed, setting.closed
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
	w.other.close()
	ctx := context.WithoutCancel(w.ctx)
	_, err := w.request(ctx, http.MethodDelete, "/"+w.alias+"-*", nil, nil, http.StatusNotFound)
	_, err2 := w.request(ctx, http.MethodDelete, "/_index_template/"+w.alias, nil, nil, http.StatusNotFound)
	_, err3 := w.sql.Exec(ctx, "drop table if exists "+w.relation+" cascade")
	return errors.Join(err, err2, err3, w.sql.Close(ctx))
}

func (w *world) config(url string) target.Config {
	return target.Config{Config: cluster.Config{URLs: []string{url}, Patience: 20 * time.Second}, Backend: target.Backend{
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
		w.flip()
		return nil
	case straggle:
		return w.straggle(s)
	case leave:
		return w.leave(s)
	case migrate:
		return w.migrate(s.run)
	case check:
		return w.check(s.run)
	}
	return w.trouble(s)
}

// flip is the switch. If Sentry wrote to OpenSearch before, the operator has
// learned when.
func (w *world) flip() {
	if w.model.switched != 0 {
		return
	}
	w.model.switched = w.now()
	if w.model.early != 0 {
		w.model.switched = w.model.early
	}
}

// justBefore is a millisecond of the last one or two seconds that no other write
// has: while the clock stands still, no two nodes are alike to the tool.
func (w *world) justBefore() int64 { return w.now() - int64(2000-w.writes)*1000 }

// version makes the next write. Where ids repeat, the newest is the one that counts.
func (w *world) version(s step, at int64) version {
	w.writes++
	v := version{inner: fmt.Sprintf(`{"id":%d,"write":%d}`+"\n", s.id, w.writes), at: at, kind: s.kind}
	if s.kind == pickled {
		v.inner = fmt.Sprintf("\x80\x02K%c.", w.writes)
	}
	if history := w.model.facts[s.id].history; w.shape == view && len(history) > 0 {
		v.at = max(v.at, history[len(history)-1].at+1000)
	}
	return v
}

func (w *world) write(s step) error {
	if w.model.switched != 0 {
		s.kind = readable
		v := w.version(s, w.now())
		v.at = w.now() // the backend takes the document's time from its clock
		w.model.wrote(s.id, v)
		return w.writeDocument(w.ctx, s.id, v)
	}
	if w.model.facts[s.id].written != nil {
		return nil // a process that writes to OpenSearch already is the one that has it
	}
	v := w.version(s, w.justBefore()-s.span.Microseconds())
	w.model.rewrote(s.id, v, w.now())
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
	w.model.rewrote(s.id, v, w.now())
	return w.writeRow(w.ctx, s.id, v)
}

func (w *world) remove(id int) error {
	if w.model.switched == 0 {
		w.model.facts[id].row = nil
		return w.deleteRow(w.ctx, id)
	}
	w.model.erase(id)
	w.model.facts[id].erased = true
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
			w.model.dropped(n, w.now())
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
	w.model.dropped(days[0], w.now())
	return w.dropIndex(w.ctx, days[0])
}

// compare reads every id as Sentry does.
func (w *world) compare(wanted func(id int, now int64) expectation) error {
	for id := range ids {
		seen, err := w.read(w.ctx, id)
		if err != nil {
			return err
		}
		want := wanted(id, w.now())
		if want.nothing {
			continue
		}
		absent := want.absent && (len(seen.indices) == 0 || want.doubled && len(seen.indices) > 1)
		if !absent && (len(seen.indices) != 1 || !slices.Contains(want.inner, seen.inner)) {
			return fmt.Errorf("id %d: Sentry finds it in %q and reads %q; want %s", id, seen.indices, seen.inner, want)
		}
	}
	return nil
}

// end is the rest of a history: the switch if it is not over, the last runs, and
// one more that must find nothing to do. Then it is verified.
func (w *world) end() error {
	runs := []step{{do: flip}, {do: migrate}, {do: migrate}}
	if w.model.several {
		runs[1].run.second = true
	}
	for _, s := range runs {
		if err := w.do(s); err != nil {
			return err
		}
	}
	if w.model.spoiled || w.model.refused {
		return w.verified()
	}
	if err := w.compare(w.model.final); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if err := w.oneMore(); err != nil {
		return fmt.Errorf("one more run: %w", err)
	}
	return w.verified()
}

func (w *world) oneMore() error {
	err := w.migrate(run{})
	if err == nil && w.summary.Run.Nodes > 0 {
		err = fmt.Errorf("sends %d nodes again", w.summary.Run.Nodes)
	}
	if err == nil {
		err = w.compare(w.model.final)
	}
	if err == nil {
		err = w.settled()
	}
	return err
}

// verified is how a migration ends: when every transaction of before the switch
// is over, once more, then the verification.
func (w *world) verified() error {
	w.clock.Add((20 * time.Minute).Microseconds())
	for _, s := range []step{{do: migrate}, {do: check, run: run{accept: true}}, {do: check, run: run{accept: true, full: true}}} {
		if err := w.do(s); err != nil {
			return fmt.Errorf("at the end, %s: %w", s, err)
		}
		if s.do == check && w.model.calm && !w.verdict.SafeToDrop {
			return fmt.Errorf("at the end, %s: all is well, but not safe: %s; %q", s, w.verdict.Sentence, w.verdict.Because)
		}
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
