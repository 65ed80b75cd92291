package migrate_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

func TestTargetConnectionsBreak(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(20, 400, 3))
	cuts := []faulty.Cut{faulty.NoCut, faulty.BeforeServer, faulty.NoCut, faulty.BeforeAnswer, faulty.InAnswer, faulty.NoCut, faulty.NoCut}
	bulks, others, broken := 0, 0, 0
	proxy := faulty.NewHTTPProxy(t, hostOf(t, w.target), func(r *http.Request, _ int) faulty.Fault {
		cut := faulty.NoCut
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			bulks++
			cut = cuts[bulks%len(cuts)]
		} else if others++; others%3 == 0 {
			cut = cuts[others/3%len(cuts)]
		}
		if cut != faulty.NoCut {
			broken++
		}
		return faulty.Fault{Cut: cut}
	})
	c := w.migrate(exitRejected, "--target", proxy.URL())
	if broken < 10 {
		t.Errorf("only %d requests broke", broken)
	}
	w.wantComplete(c.summary())
	if w.sentAgain() == 0 {
		t.Error("the checkpoint names no batch that was sent again")
	}
}

// TestSourceConnectionsBreak lets connections live long enough to open the
// source, and shorter than the copy takes, so that they break inside a COPY.
func TestSourceConnectionsBreak(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(21, 600, 3))
	proxy := faulty.NewTCPProxy(t, hostOf(t, w.source), func(k int) faulty.Line {
		if k > 12 {
			return faulty.Line{}
		}
		return faulty.Line{CutAfter: int64(100_000 + 50_000*k)}
	})
	c := w.migrate(exitRejected, "--source", through(t, w.source, proxy.Addr()))
	if proxy.Connections() < 6 || !strings.Contains(c.stdout.String(), `"event":"retry"`) {
		t.Errorf("only %d connections, or no slice was read again", proxy.Connections())
	}
	w.wantComplete(c.summary())
}

// sentAgain is how many spans of batches that were sent again are recorded.
func (w *world) sentAgain() (spans int) {
	w.t.Helper()
	state, ok := w.state()
	if !ok {
		w.t.Fatal("there is no checkpoint")
	}
	for _, day := range state.Days {
		spans += len(day.SentAgain)
	}
	return spans
}

// TestSourceRestarts takes the source away while slices are open, and gives it
// back when the tool has noticed.
func TestSourceRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(22, 400, 3))
	proxy := faulty.NewTCPProxy(t, hostOf(t, w.source), func(int) faulty.Line { return faulty.Line{} })
	gate, reached, open := w.held(5)
	c := w.start("--source", through(t, w.source, proxy.Addr()), "--target", gate.server.URL)
	<-reached
	proxy.Down()
	close(open)
	c.reports(`"event":"retry"`)
	proxy.Up()
	c.wants(exitRejected)
	w.wantComplete(c.summary())
}

// TestBlockedIndexStopsEverything runs in this process, where TestMain finds
// goroutines that did not stop.
func TestBlockedIndexStopsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(23, 400, 3))
	gate, reached, open := w.held(6)
	outcome := make(chan error)
	go func() { outcome <- w.runHere(gate.server.URL) }()
	<-reached
	w.must(http.MethodPut, "/"+w.prefix+"-*/_settings", `{"index.blocks.write": true}`, nil)
	close(open)
	err := <-outcome
	if !errors.Is(err, cluster.ErrBlocked) || hint.Of(err) == "" {
		t.Fatalf("%v, with the hint %q", err, hint.Of(err))
	}
	w.wantNotAhead()
	w.must(http.MethodPut, "/"+w.prefix+"-*/_settings", `{"index.blocks.write": null}`, nil)
	w.wantComplete(w.migrate(exitRejected).summary())
}

// runHere migrates in this process. A run that does not end in two minutes
// is ended, and returns the context's error.
func (w *world) runHere(address string) (err error) {
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
	record, err := checkpoint.Open(ctx, medium, w.binding(from, to))
	if err != nil {
		return errors.Join(err, medium.Close())
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	rejects, err := migrate.OpenRejects(w.rejectedFile(), "", migrate.RejectsSize{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rejects.Close()) }()
	parts := migrate.Parts{Source: from, Target: to, Checkpoint: record, Rejects: rejects}
	_, err = migrate.New(parts, migrate.Options{Readers: 2, Senders: 2, BatchBytes: 64 << 10, Depth: node.Full}).Run(ctx)
	return err
}

func (w *world) binding(from *source.Source, to *target.Target) checkpoint.Binding {
	return checkpoint.Binding{
		Source: from.Origin(""),
		Target: checkpoint.Target{Cluster: to.Identity().ClusterUUID, Alias: w.prefix, Index: w.prefix + "-{date}"},
	}
}

// TestSourceGoesAwayBetweenPasses leaves a run that follows without its source
// for longer than a single question waits.
func TestSourceGoesAwayBetweenPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(24, 200, 3))
	proxy := faulty.NewTCPProxy(t, hostOf(t, w.source), func(int) faulty.Line { return faulty.Line{} })
	c := w.start("--source", through(t, w.source, proxy.Addr()), "--follow")
	c.reports(`"event":"caught_up"`)
	proxy.Down()
	c.reports(`"event":"waiting"`)
	w.insert("nodestore_node", renamed("late-", synth.Options{
		Seed: 25, Rows: 20, From: time.Now().Add(-time.Minute), Until: time.Now(), Mix: synth.Clean(), Distinct: 5,
	}))
	proxy.Up()
	c.reports(`"event":"caught_up","nodes":20`)
	c.interrupt()
	c.wants(exitInterrupted)
	w.wantReadable()
	if n := w.sentAgain(); n > 0 {
		t.Errorf("the checkpoint names %d batches that were sent again, and none was", n)
	}
}
