package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// demoCommand shows the tool at work.
type demoCommand struct {
	outputFlags `embed:""`

	Source string `help:"PostgreSQL to use instead of starting one; a database is made in it for the demo." placeholder:"URL"`
	Target string `help:"OpenSearch to use instead of starting one; the demo's alias is nodestore-demo." placeholder:"URL"`
	Nodes  int    `help:"Number of events." default:"20000" placeholder:"N"`
	Seed   uint64 `help:"Which events: the same seed makes the same." default:"1" placeholder:"N"`
	Keep   bool   `help:"Leave the servers running, and say where they are."`
}

// Help is the long help of the verb.
func (demoCommand) Help() string {
	return `Starts PostgreSQL and OpenSearch from Maven artifacts (needs mvn and a JDK 17), fills nodestore_node with
realistic events over ten days, copies them, and reads some back the way Sentry does.

Examples:
  nodestore-migrate demo
  nodestore-migrate demo --nodes 200000 --keep

` + exitCodes
}

func (c *demoCommand) problems(found []string) []string {
	if c.Nodes < 1 {
		found = append(found, fmt.Sprintf("--nodes: %d is not positive", c.Nodes))
	}
	return found
}

// Run starts the servers, fills, copies, reads back.
func (c *demoCommand) Run(ctx context.Context, p *process) (err error) {
	servers := &demoServers{keep: c.Keep}
	defer func() { err = errors.Join(err, servers.stop()) }()
	if err := servers.start(ctx, p, c); err != nil {
		return err
	}
	if err := c.fill(ctx, p, servers.source); err != nil {
		return err
	}
	return errors.Join(c.copyAndRead(ctx, p, servers), ctx.Err())
}

const demoAlias = "nodestore-demo"

// demoServers are the servers of a demo.
type demoServers struct {
	keep           bool
	source, target string
	stops          []func() error
}

func (s *demoServers) start(ctx context.Context, p *process, c *demoCommand) error {
	if s.source, s.target = c.Source, c.Target; s.source == "" {
		fmt.Fprintln(p.stderr, "Starting PostgreSQL (the first time Maven fetches it) ...")
		server, err := testbed.StartPostgres(ctx, testbed.PostgresOptions{Detach: c.Keep})
		if err != nil {
			return err
		}
		s.source = server.URL()
		s.started(p, "PostgreSQL "+server.URL(), server)
	}
	if s.target == "" {
		fmt.Fprintln(p.stderr, "Starting OpenSearch (the first time Maven fetches it) ...")
		server, err := testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Detach: c.Keep})
		if err != nil {
			return err
		}
		s.target = server.URL()
		s.started(p, "OpenSearch "+server.URL(), server)
	}
	return nil
}

// started remembers to stop a server, or tells how to.
func (s *demoServers) started(p *process, what string, server interface {
	Stop() error
	PID() int
	Dir() string
},
) {
	if s.keep {
		fmt.Fprintf(p.stderr, "%s stays; to end it: kill %d && rm -r %s\n", what, server.PID(), server.Dir())
		return
	}
	s.stops = append(s.stops, server.Stop)
}

func (s *demoServers) stop() error {
	var errs []error
	for _, stop := range s.stops {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

// fill makes a database of its own, so that nothing that is there is touched.
func (c *demoCommand) fill(ctx context.Context, p *process, server string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return hint.Add(fmt.Errorf("reach PostgreSQL: %w", err), "check --source")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	until := time.Now().UTC().Truncate(time.Second)
	fmt.Fprintf(p.stderr, "Making %s events over ten days ...\n", count(int64(c.Nodes)))
	if _, err := conn.Exec(ctx, "drop table if exists nodestore_demo"); err != nil {
		return fmt.Errorf("make table nodestore_demo: %w", err)
	}
	if err := synth.CreateTable(ctx, conn, "nodestore_demo"); err != nil {
		return err
	}
	_, err = synth.Fill(ctx, conn, "nodestore_demo", synth.Options{
		Seed: c.Seed, Rows: c.Nodes, From: until.AddDate(0, 0, -10), Until: until, Mix: synth.Everything(),
	})
	return err
}

func (c *demoCommand) copyAndRead(ctx context.Context, p *process, servers *demoServers) error {
	dir, err := os.MkdirTemp("", "nodestore-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the checkpoint: %w", err)
	}
	if !c.Keep {
		defer os.RemoveAll(dir)
	}
	copying := migrateCommand{
		sourceFlags: sourceFlags{Source: servers.source, Region: "demo", Table: "nodestore_demo"},
		targetFlags: targetFlags{Target: servers.target, Alias: demoAlias, Template: demoAlias, Index: demoAlias + "-{date}"},
		outputFlags: c.outputFlags, Checkpoint: filepath.Join(dir, "demo.checkpoint"), Order: "newest", Check: "full", Overlap: migrate.DefaultOverlap,
	}
	// The demo must not change what a real Sentry on that cluster uses.
	demo := *p
	demo.getenv = func(name string) string {
		if name == "SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN" {
			return demoAlias + "-*"
		}
		if name == "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC" {
			return "best_compression"
		}
		return ""
	}
	err = copying.Run(ctx, &demo)
	if err != nil && !errors.Is(err, errRejected) {
		return err
	}
	return c.readBack(ctx, &demo, &copying)
}

// handful is how many events are read back.
const handful = 8

// readBack reads some events as Sentry does and compares them with the source.
func (c *demoCommand) readBack(ctx context.Context, p *process, copied *migrateCommand) (err error) {
	s, err := copied.open(ctx, p, 1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	conn, err := pgx.Connect(ctx, copied.Source)
	if err != nil {
		return fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "select id from nodestore_demo where data <> '' order by hashtext(id || $1::text) limit $2", fmt.Sprint(c.Seed), handful)
	if err != nil {
		return fmt.Errorf("choose events: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("choose events: %w", err)
	}
	fmt.Fprintf(p.stdout, "\nReading %d events back the way Sentry does:\n", len(ids))
	for _, id := range ids {
		if err := compare(ctx, p, s, id); err != nil {
			return err
		}
	}
	return nil
}

// compare reads one event on both sides.
func compare(ctx context.Context, p *process, s *session, id string) error {
	var want []byte
	var unreadable error
	err := s.Source.Fetch(ctx, []string{id}, func(n node.Node) error {
		want, unreadable = node.Decode(nil, n.Data)
		return nil
	})
	if err != nil {
		return err
	}
	sight, err := s.Target.Read(ctx, id)
	if err != nil {
		return err
	}
	if unreadable != nil || sight.Data == nil {
		fmt.Fprintf(p.stdout, "  %-40s not there: it was rejected\n", id)
		return nil
	}
	got, err := node.Decode(nil, sight.Data)
	if err != nil {
		return fmt.Errorf("read %q: %w", id, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %q: the bytes are not those of the row", id)
	}
	fmt.Fprintf(p.stdout, "  %-40s %9s from %s, the same bytes\n", id, size(int64(len(got))), sight.Index)
	return nil
}
