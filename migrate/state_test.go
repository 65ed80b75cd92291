package migrate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// wantComplete compares the end of a migration with what it should be: every
// row has one fate, Sentry reads the very bytes of every readable row from the
// one index of its day, all others are listed once, and nothing is borrowed.
func (w *world) wantComplete(s migrate.Summary) {
	w.t.Helper()
	if s.Read != int64(len(w.rows)) || s.Fates.Sum() != s.Read {
		w.t.Errorf("%d rows, %d read, fates %v", len(w.rows), s.Read, s.Fates)
	}
	rejected := w.rejected()
	if s.Fates[node.Rejected] != int64(len(rejected)) {
		w.t.Errorf("%d nodes are listed, %d counted as rejected", len(rejected), s.Fates[node.Rejected])
	}
	for _, row := range w.rows {
		if got, want := rejected[row.ID], reasonOf(row.Kind); got != want {
			w.t.Errorf("node %q of kind %s: rejected as %q, want %q", row.ID, row.Kind, got, want)
		}
	}
	w.wantReadable()
	w.wantRestored()
	if s.Borrowed != 0 || len(s.Lost) > 0 || s.Missing != 0 || s.Sealed != s.Days {
		w.t.Errorf("%d indices borrowed, %v lost, %d missing, %d of %d days sealed", s.Borrowed, s.Lost, s.Missing, s.Sealed, s.Days)
	}
}

// reasonOf is why rows of a kind are rejected.
func reasonOf(kind synth.Kind) node.Reason {
	return map[synth.Kind]node.Reason{
		synth.Pickle: node.Pickle, synth.Empty: node.Empty,
		synth.CorruptBase64: node.CorruptBase64, synth.CorruptZlib: node.CorruptZlib,
	}[kind]
}

// rejected reads the list of rejected nodes. A node that is listed twice is an error.
func (w *world) rejected() map[string]node.Reason {
	w.t.Helper()
	if w.records != "" {
		return w.parseRejected(w.recordedRejected())
	}
	list, err := os.ReadFile(w.rejectedFile())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.parseRejected(list)
}

func (w *world) parseRejected(list []byte) map[string]node.Reason {
	w.t.Helper()
	found := make(map[string]node.Reason)
	for line := range bytes.Lines(list) {
		var r migrate.Rejected
		if err := json.Unmarshal(line, &r); err != nil {
			w.t.Fatalf("rejected list: %v in %q", err, line)
		}
		if r.Retried {
			delete(found, r.ID)
			continue
		}
		if _, twice := found[r.ID]; twice {
			w.t.Errorf("node %q is listed twice", r.ID)
		}
		found[r.ID] = r.Reason
	}
	return found
}

// openTarget opens the target as a reader of the test's alias.
func (w *world) openTarget() *target.Target {
	w.t.Helper()
	reader, err := target.Open(w.t.Context(), target.Config{Config: cluster.Config{URLs: []string{w.target}}, Backend: w.backend()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(reader.Close)
	return reader
}

func (w *world) backend() target.Backend {
	return target.Backend{
		Alias: w.prefix, Template: w.prefix, Index: w.prefix + "-{date}", Pattern: w.prefix + "-*",
		Codec: "best_compression", Shards: 1, Replicas: 1,
	}
}

// wantReadable reads every id with the two requests of Sentry's reader.
func (w *world) wantReadable() {
	w.t.Helper()
	reader := w.openTarget()
	var group errgroup.Group
	group.SetLimit(4)
	for _, row := range w.rows {
		group.Go(func() error {
			sight, err := reader.Read(w.t.Context(), row.ID)
			if err != nil {
				return err
			}
			if problem := w.compare(row, sight); problem != "" {
				w.t.Errorf("node %q of kind %s: %s", row.ID, row.Kind, problem)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// compare says what is wrong with what Sentry sees of a row.
func (w *world) compare(row synth.Row, sight target.Sight) string {
	switch {
	case row.Inner == nil && sight.Copies == 0:
		return ""
	case row.Inner == nil:
		return fmt.Sprintf("nobody can read it, and it has %d copies", sight.Copies)
	case sight.Copies != 1:
		return fmt.Sprintf("%d copies", sight.Copies)
	case sight.Index != w.index(row):
		return fmt.Sprintf("it is in %s, not in %s", sight.Index, w.index(row))
	}
	inner, err := node.Decode(nil, sight.Data)
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(inner, row.Inner) {
		return fmt.Sprintf("%d other bytes than the row's %d", len(inner), len(row.Inner))
	}
	return ""
}

// wantRestored looks at all indices: they are as the template says, and no
// alias of the loading is left.
func (w *world) wantRestored() {
	w.t.Helper()
	var indices map[string]struct {
		Aliases  map[string]any
		Settings struct{ Index map[string]any }
	}
	w.must(http.MethodGet, "/"+w.prefix+"-*", "", &indices)
	for name, index := range indices {
		if got := index.Settings.Index["number_of_replicas"]; got != "1" {
			w.t.Errorf("%s has %v replicas", name, got)
		}
		if got, set := index.Settings.Index["refresh_interval"]; set {
			w.t.Errorf("%s has refresh_interval %v", name, got)
		}
		if _, ok := index.Aliases[w.prefix]; !ok || len(index.Aliases) != 1 {
			w.t.Errorf("%s has the aliases %v", name, index.Aliases)
		}
	}
	if state, _ := w.state(); len(state.Borrowed) != 0 {
		w.t.Errorf("the checkpoint still lists as borrowed: %v", state.Borrowed)
	}
}

// state reads the checkpoint; ok is false when there is none yet.
func (w *world) state() (state checkpoint.State, ok bool) {
	w.t.Helper()
	if w.records != "" {
		return w.recordedState()
	}
	state, err := checkpoint.Read(w.checkpoint())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return state, err == nil
}

// done lists the rows that the checkpoint calls done.
func (w *world) done() (done []synth.Row) {
	w.t.Helper()
	state, _ := w.state()
	for _, row := range w.rows {
		day, ok := state.Days[dayOf(row).String()]
		at := row.Timestamp.UnixMicro()
		if ok && day.Done.Contains(checkpoint.Range{From: at, To: at + 1}) {
			done = append(done, row)
		}
	}
	return done
}

// wantNotAhead compares what the checkpoint calls done with what is there, and
// returns the ids. It does not refresh: a real-time multi-get sees what a
// search does not see yet.
func (w *world) wantNotAhead() map[string]bool {
	w.t.Helper()
	done := w.done()
	state, ok := w.state()
	if !ok {
		return nil
	}
	var counted node.Fates
	for _, day := range state.Days {
		counted.Add(day.Fates)
	}
	if counted.Sum() != int64(len(done)) {
		w.t.Errorf("%d nodes are done, their fates are %v", len(done), counted)
	}
	list, err := os.ReadFile(w.rejectedFile())
	if err != nil || int64(len(list)) < state.Rejected.List {
		w.t.Fatalf("rejected list of %d bytes, the checkpoint counts on %d: %v", len(list), state.Rejected.List, err)
	}
	rejected := w.parseRejected(list[:state.Rejected.List])
	there := w.there(done)
	ids := make(map[string]bool, len(done))
	for _, row := range done {
		ids[row.ID] = true
		if _, listed := rejected[row.ID]; listed != (row.Inner == nil) || there[row.ID] != (row.Inner != nil) {
			w.t.Errorf("node %q of kind %s is done: at the target %v, listed as rejected %v", row.ID, row.Kind, there[row.ID], listed)
		}
	}
	return ids
}

// there tells which rows are in the index of their day.
func (w *world) there(rows []synth.Row) map[string]bool {
	w.t.Helper()
	if len(rows) == 0 {
		return nil
	}
	type document struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
		Found bool   `json:"found,omitempty"`
	}
	var asked, answered struct {
		Docs []document `json:"docs"`
	}
	for _, row := range rows {
		asked.Docs = append(asked.Docs, document{Index: w.index(row), ID: row.ID})
	}
	body, err := json.Marshal(asked)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(http.MethodPost, "/_mget?_source=false", string(body), &answered)
	found := make(map[string]bool, len(rows))
	for _, d := range answered.Docs {
		found[d.ID] = d.Found
	}
	return found
}
