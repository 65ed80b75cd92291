//go:build !nodemo

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// demoVerb is in the grammar unless it is left out with the tag nodemo: the servers,
// which Maven and a JDK have to be there for, are an eighth of the binary.
type demoVerb struct {
	Demo demoCommand `cmd:"" help:"See all of it work, on servers that it starts itself."`
}

// demoCommand shows the tool at work.
type demoCommand struct {
	outputFlags `embed:"" group:"Output"`

	Source string `help:"PostgreSQL to use instead of starting one; table nodestore_demo is made there." placeholder:"URL"`
	Target string `help:"OpenSearch to use instead of starting one; the alias nodestore_demo and its indices are made there." placeholder:"URL"`
	Nodes  int    `help:"Number of events; ${default} by default." default:"20000" placeholder:"N"`
	Seed   uint64 `help:"Which events: the same seed makes the same." default:"1" placeholder:"N"`
	Keep   bool   `help:"Leave servers, table and indices, and say where they are."`
}

// Help is the long help of the verb.
func (demoCommand) Help() string {
	return `Starts PostgreSQL and OpenSearch from Maven artifacts (needs mvn and a JDK 17), fills nodestore_node with
realistic events over ten days, copies them, and reads some back the way Sentry does. Some of the events
nobody can read on OpenSearch, as in production: they are rejected. At the end everything is removed again,
except, on servers that it was given, the index template nodestore_demo.

Examples:
  nodestore-migrate demo
  nodestore-migrate demo --nodes 200000 --keep
  nodestore-migrate demo --source postgres://postgres@localhost/postgres --target http://localhost:9200

Exit codes: 0 success, 1 failed, 2 usage, 130 interrupted.`
}

func (c *demoCommand) problems(found []string) []string {
	if c.Nodes < 1 {
		found = append(found, fmt.Sprintf("--nodes: %d is not positive", c.Nodes))
	}
	return found
}

// demo is a demo while it runs.
type demo struct {
	*demoCommand
	process        *process
	source, target string
	copying        *migrateCommand
	undo           []func(context.Context) error // what takes it all down again, from the last on
	farewell       []string                      // how to stop what is kept
}

// Run starts the servers, fills, copies, reads back, and removes it all.
func (c *demoCommand) Run(ctx context.Context, p *process) (err error) {
	// A demo has nothing to finish: the first interrupt ends it.
	ctx, cancel := p.untilStopped(ctx)
	defer cancel()
	d := &demo{demoCommand: c, process: p, source: c.Source, target: c.Target}
	defer func() {
		if ctx.Err() != nil {
			err = hint.Add(migrate.ErrInterrupted, "a demo cannot be resumed: run it again")
		}
		for _, undo := range slices.Backward(d.undo) {
			err = errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
	}()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.fill(ctx); err != nil {
		return err
	}
	return d.copyAndRead(ctx)
}

// tell says what is happening.
func (d *demo) tell(text string) {
	if !d.Quiet {
		fmt.Fprintln(d.process.stderr, text)
	}
}

// atEnd remembers what to do at the end, unless everything is kept.
func (d *demo) atEnd(undo func(context.Context) error) {
	if !d.Keep {
		d.undo = append(d.undo, undo)
	}
}

// start starts the servers that were not given.
func (d *demo) start(ctx context.Context) error {
	if d.source == "" {
		d.tell("Starting PostgreSQL (the first time Maven fetches it) ...")
		server, err := testbed.StartPostgres(ctx, testbed.PostgresOptions{Detach: d.Keep})
		if err != nil {
			return err
		}
		d.source = server.URL()
		d.started("PostgreSQL "+server.URL(), server)
	}
	if d.target == "" {
		d.tell("Starting OpenSearch (the first time Maven fetches it) ...")
		server, err := testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Detach: d.Keep})
		if err != nil {
			return err
		}
		d.target = server.URL()
		d.started("OpenSearch "+server.URL(), server)
	}
	return nil
}

// started has a server stopped at the end, or tells how to.
func (d *demo) started(what string, server interface {
	Stop() error
	PID() int
	Dir() string
},
) {
	d.atEnd(func(context.Context) error { return server.Stop() })
	if d.Keep {
		d.farewell = append(d.farewell, fmt.Sprintf("%s stays; to end it: kill %d && rm -r %s", what, server.PID(), server.Dir()))
		fmt.Fprintln(d.process.stderr, d.farewell[len(d.farewell)-1])
	}
}

// demoName is the name of the demo's table, alias and template. It has no dash,
// so that the backend's cleanup could read the date of an index.
const demoName = "nodestore_demo"

// fill makes a table of its own, so that nothing that is there is touched.
func (d *demo) fill(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.source)
	if err != nil {
		return hint.Add(fmt.Errorf("reach PostgreSQL: %w", err), "check --source")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	until := time.Now().UTC().Truncate(time.Second)
	d.tell("Making " + amount.Count(int64(d.Nodes)) + " events over ten days ...")
	if err := dropTable(ctx, conn); err != nil {
		return err
	}
	if d.Source != "" { // else the server is removed as a whole
		d.atEnd(func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, d.Source)
			if err != nil {
				return err
			}
			return errors.Join(dropTable(ctx, conn), conn.Close(ctx))
		})
	}
	if err := synth.CreateTable(ctx, conn, demoName); err != nil {
		return err
	}
	_, err = synth.Fill(ctx, conn, demoName, synth.Options{
		Seed: d.Seed, Rows: d.Nodes, From: until.AddDate(0, 0, -10), Until: until, Mix: synth.Everything(),
	})
	return err
}

func dropTable(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "drop table if exists "+demoName); err != nil {
		return fmt.Errorf("remove table %s: %w", demoName, err)
	}
	return nil
}

func (d *demo) copyAndRead(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "nodestore-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the checkpoint: %w", err)
	}
	d.atEnd(func(context.Context) error { return os.RemoveAll(dir) })
	// The demo must not change what a real Sentry on that cluster uses.
	process := *d.process
	process.getenv = demoEnvironment
	d.copying = &migrateCommand{
		sidesFlags: sidesFlags{
			sourceFlags{Source: d.source, Region: "demo", Table: demoName},
			targetFlags{Target: d.target, Alias: demoName, Template: demoName, Index: demoName + "-{date}"},
		},
		recordFlag: recordFlag{filepath.Join(dir, "demo.checkpoint")}, outputFlags: d.outputFlags,
		Order: "newest", Check: "full", Overlap: migrate.DefaultOverlap,
	}
	drop := func(ctx context.Context) error { return d.dropIndices(ctx, &process) }
	if d.Target != "" { // else the server is removed as a whole
		d.atEnd(drop)
	}
	if err := drop(ctx); err != nil { // of a demo that was kept
		return err
	}
	r, err := d.copying.copy(ctx, &process)
	if err != nil {
		return err
	}
	if err := d.readBack(ctx, &process); err != nil {
		return err
	}
	if !d.Keep {
		r.RejectedFile = "" // it goes with the rest
	}
	if err := r.print(d.process, d.outputFlags); err != nil {
		return err
	}
	for _, line := range d.farewell {
		fmt.Fprintln(d.process.stderr, line)
	}
	return nil
}

// demoEnvironment stands for the environment of a backend that is made for the demo.
func demoEnvironment(name string) string {
	switch name {
	case "SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN":
		return demoName + "-*"
	case "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC":
		return "best_compression" // every server has it
	}
	return ""
}

// dropIndices removes the demo's daily indices.
func (d *demo) dropIndices(ctx context.Context, p *process) error {
	config, err := d.copying.targetFlags.config(ctx, p)
	if err != nil {
		return err
	}
	t, err := target.Open(ctx, config)
	if err != nil {
		return err
	}
	defer t.Close()
	indices, err := t.AllHoldings(ctx)
	if err != nil {
		return err
	}
	for _, index := range indices {
		if !index.Daily {
			continue
		}
		if err := t.Drop(ctx, index.Name); err != nil {
			return err
		}
	}
	return nil
}

// handful is how many events are read back.
const handful = 8

// readBack reads some events as Sentry does and compares them with the source.
func (d *demo) readBack(ctx context.Context, p *process) (err error) {
	s, err := d.copying.reach(ctx, p, 1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	conn, err := pgx.Connect(ctx, d.source)
	if err != nil {
		return fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "select id from "+demoName+" where data <> '' order by hashtext(id || $1::text) limit $2", fmt.Sprint(d.Seed), handful)
	if err != nil {
		return fmt.Errorf("choose events: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("choose events: %w", err)
	}
	d.tell(fmt.Sprintf("Reading %d events back the way Sentry does ...", len(ids)))
	for _, id := range ids {
		seen, err := compare(ctx, s, id)
		if err != nil {
			return err
		}
		if err := seen.print(p, d.outputFlags); err != nil {
			return err
		}
	}
	return nil
}

// readBack is an event that was read on both sides: the bytes are the same, or
// it was rejected for a reason. It is a line of `--json`.
type readBack struct {
	head
	ID     string      `json:"id"`
	Index  string      `json:"index,omitempty"`
	Bytes  int         `json:"bytes,omitempty"`
	Reason node.Reason `json:"reason,omitempty"`
}

func (r readBack) print(p *process, o outputFlags) (err error) {
	switch {
	case o.JSON:
		err = json.NewEncoder(p.stdout).Encode(r)
	case o.Quiet:
	case r.Reason != node.Accepted:
		_, err = fmt.Fprintf(p.stdout, "  %-40s %9s as it should be: %s\n", r.ID, "rejected", words(string(r.Reason)))
	default:
		_, err = fmt.Fprintf(p.stdout, "  %-40s %9s from %s, the same bytes\n", r.ID, amount.Size(int64(r.Bytes)), r.Index)
	}
	return err
}

// compare reads one event on both sides.
func compare(ctx context.Context, s *session, id string) (readBack, error) {
	r := readBack{head: headed("read_back"), ID: id}
	var want []byte
	err := s.Source.Fetch(ctx, []string{id}, func(n node.Node) (err error) {
		_, verdict := node.NewChecker(node.Full).Append(nil, n.Data)
		if r.Reason = verdict.Reason; r.Reason == node.Accepted {
			want, err = node.Decode(nil, n.Data)
		}
		return err
	})
	if err != nil {
		return r, err
	}
	sight, err := s.Target.Read(ctx, id)
	switch {
	case err != nil:
		return r, err
	case sight.Data == nil && r.Reason != node.Accepted:
		return r, nil
	case sight.Data == nil:
		return r, fmt.Errorf("read %q: Sentry would not find it", id)
	}
	got, err := node.Decode(nil, sight.Data)
	if err != nil {
		return r, fmt.Errorf("read %q: %w", id, err)
	}
	if !bytes.Equal(got, want) {
		return r, fmt.Errorf("read %q: the bytes are not those of the row", id)
	}
	r.Index, r.Bytes = sight.Index, len(got)
	return r, nil
}
