package migrate_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// heldMedium calls hold before it writes the first document in which all of a
// range of a day is done.
type heldMedium struct {
	checkpoint.Medium
	day  node.Day
	once sync.Once
	hold func()
}

func (m *heldMedium) Write(ctx context.Context, document []byte) error {
	var state checkpoint.State
	if err := json.Unmarshal(document, &state); err != nil {
		return err
	}
	if d := state.Days[m.day.String()]; d != nil && len(d.Done.Missing(m.day.Start(), m.day.End())) == 0 {
		m.once.Do(m.hold)
	}
	return m.Medium.Write(ctx, document)
}

// TestPipelineStopsWhileAReaderCommits has the only sender fail for good while
// a reader writes to the checkpoint that all of a day has its fate: its only row
// was ahead of the clock, and had its fate before. The day is to be sealed then,
// and nobody seals any more.
//
// It runs alone: it looks for a goroutine.
func TestPipelineStopsWhileAReaderCommits(t *testing.T) {
	w := newWorld(t, newestPair()).fill(oneRow(50, 13*time.Hour))
	first := once{past().Add(12 * time.Hour), func() {}}
	open := newGate(t, w.target, func(request) passage { return passage{} })
	if err := w.runOn(open.server.URL, first); err != nil {
		t.Fatal(err)
	}
	w.insert("nodestore_node", renamed("b-", oneRow(51, 30*time.Hour)))
	committing := make(chan struct{})
	gate := newGate(t, w.target, func(r request) passage {
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			select {
			case <-committing:
				w.must(http.MethodPut, "/"+w.prefix+"-*/_settings", `{"index.blocks.write": true}`, nil)
			case <-r.Context().Done():
			}
		}
		return passage{}
	})
	err := w.runOn(gate.server.URL, once{past().Add(72 * time.Hour), func() {
		close(committing)
		for strings.Contains(stacks(), ").sendLoads(") {
			runtime.Gosched()
		}
	}})
	if !errors.Is(err, cluster.ErrBlocked) {
		t.Errorf("the run ends with %v", err)
	}
}

func oneRow(seed uint64, after time.Duration) synth.Options {
	at := past().Add(after)
	return synth.Options{Seed: seed, Rows: 1, From: at, Until: at.Add(time.Hour), Mix: synth.Clean(), Distinct: 1}
}

// once is a run by a clock that stands still.
type once struct {
	now  time.Time
	hold func()
}

// stacks are those of all goroutines.
func stacks() string {
	buffer := make([]byte, 1<<20)
	return string(buffer[:runtime.Stack(buffer, true)])
}

// runOn migrates in this process, with one sender and a checkpoint that is held.
func (w *world) runOn(address string, o once) (err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	from, err := source.Open(ctx, source.Config{ConnString: w.source, Table: "nodestore_node", Connections: 3})
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := target.Open(ctx, target.Config{Config: cluster.Config{URLs: []string{address}}, Backend: w.backend()})
	if err != nil {
		return err
	}
	defer to.Close()
	medium, err := checkpoint.OpenFile(w.checkpoint())
	if err != nil {
		return err
	}
	record, err := checkpoint.Open(ctx, &heldMedium{Medium: medium, day: node.DayOf(past().UnixMicro()), hold: o.hold}, w.binding(from, to))
	if err != nil {
		return errors.Join(err, medium.Close())
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	rejects, err := migrate.OpenRejects(w.rejectedFile(), "", migrate.RejectsSize{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rejects.Close()) }()
	_, err = migrate.New(migrate.Parts{Source: from, Target: to, Checkpoint: record, Rejects: rejects}, migrate.Options{
		Readers: 2, Senders: 1, Now: func(context.Context) (int64, error) { return o.now.UnixMicro(), nil },
	}).Run(ctx)
	return err
}
