package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

const (
	table = "nodestore_bench"
	alias = "nodestore-bench"

	// rowBytes is what a row of synth.Clean has on average.
	rowBytes = 9_500
	// distinctPayloads of each shape keep the rows from repeating within what
	// a codec sees at once, at about 10 s of one core to make them.
	distinctPayloads = 200
	// heap of the OpenSearch that is started, so that garbage collection of
	// the server does not decide what is measured.
	heap = "1g"
)

// bed is where it is measured: a filled table, a cluster, the built tool.
type bed struct {
	source, target string // URLs
	api            *target.Target
	dir            string     // of the tool and its checkpoints
	days           []node.Day // newest first, the order in which the tool copies
	rows, bytes    int64      // in the table
	readers        int        // the tool's defaults, which the ceilings use too
	senders        int
	cleanups       []func(context.Context) error

	postgresPID, openSearchPID int // of servers that were started here; 0: they were given
}

func (b *bed) setUp(ctx context.Context, o options) error {
	b.days = newestFirst(o.days)
	b.readers, b.senders = cli.DefaultReaders(), cli.DefaultSenders()
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.startServers(ctx, o); err != nil {
		return err
	}
	if err := b.openTarget(ctx); err != nil {
		return err
	}
	if !o.wants(copyPart) && !o.wants(verifyPart) && !o.wants(costPart) {
		return nil
	}
	return b.fill(ctx, o)
}

// later has something done at the end, last things first.
func (b *bed) later(cleanup func(context.Context) error) { b.cleanups = append(b.cleanups, cleanup) }

func (b *bed) tearDown(ctx context.Context) error {
	var errs []error
	for i := range b.cleanups {
		errs = append(errs, b.cleanups[len(b.cleanups)-1-i](ctx))
	}
	return errors.Join(errs...)
}

// build builds the tool as users do: a child process has its own CPU time and
// memory, and starts with nothing warm.
func (b *bed) build(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "nodestore-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	b.later(func(context.Context) error { return os.RemoveAll(b.dir) })
	say("Building the tool ...")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.binary(), "github.com/nodestore-migrate/nodestore-migrate")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tool: %w: %s", err, output)
	}
	return nil
}

func (b *bed) binary() string { return filepath.Join(b.dir, "nodestore-migrate") }

func (b *bed) startServers(ctx context.Context, o options) error {
	b.source, b.target = o.source, strings.TrimSuffix(o.target, "/")
	if b.source == "" {
		say("Starting PostgreSQL ...")
		server, err := testbed.StartPostgres(ctx, testbed.PostgresOptions{})
		if err != nil {
			return err
		}
		b.source, b.postgresPID = server.URL(), server.PID()
		b.later(func(context.Context) error { return server.Stop() })
	}
	if b.target == "" {
		say("Starting OpenSearch " + o.opensearch + " ...")
		server, err := testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Version: o.opensearch, Heap: heap})
		if err != nil {
			return err
		}
		b.target, b.openSearchPID = server.URL(), server.PID()
		b.later(func(context.Context) error { return server.Stop() })
	}
	return nil
}

func (b *bed) openTarget(ctx context.Context) error {
	backend, err := target.BackendFromEnv(setting, target.Custom{Alias: alias, Template: alias, Index: alias + "-{date}"})
	if err != nil {
		return err
	}
	b.api, err = target.Open(ctx, target.Config{Config: cluster.Config{URLs: []string{b.target}}, Backend: backend})
	if err != nil {
		return err
	}
	b.later(func(context.Context) error { b.api.Close(); return nil })
	if err := b.dropIndices(ctx); err != nil {
		return err
	}
	if _, err := b.api.EnsureTemplate(ctx); err != nil {
		return err
	}
	b.later(func(ctx context.Context) error { return b.remove(ctx, "/_index_template/"+alias) })
	b.later(b.dropIndices)
	return nil
}

// setting is the environment of the backend, here and in the tool: the
// benchmark's own pattern, and unless something else is asked for a codec that
// every server has.
func setting(name string) string {
	switch value := os.Getenv(name); {
	case name == "SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN":
		return alias + "-*"
	case name == "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC" && value == "":
		return "best_compression"
	case name == "SENTRY_NODESTORE_OPENSEARCH_INDEX_PREFIX":
		return ""
	default:
		return value
	}
}

// fill makes the table. Its days are long past, so that the tool loads them as
// it loads most days of a real table.
func (b *bed) fill(ctx context.Context, o options) error {
	conn, err := pgx.Connect(ctx, b.source)
	if err != nil {
		return fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := b.createTable(ctx, conn, table); err != nil {
		return err
	}
	say(fmt.Sprintf("Making %d MB of events ...", o.megabytes))
	filled, err := synth.Fill(ctx, conn, table, synth.Options{
		Seed: o.seed, Rows: o.megabytes * 1e6 / rowBytes, From: firstDay(), Until: firstDay().AddDate(0, 0, o.days),
		Mix: synth.Clean(), Distinct: distinctPayloads,
	})
	if err != nil {
		return err
	}
	b.rows, b.bytes = filled.Total().Rows, filled.Total().Bytes
	return settle(ctx, conn, table)
}

// createTable makes an empty table, in place of what a killed run left.
func (b *bed) createTable(ctx context.Context, conn *pgx.Conn, name string) error {
	if err := dropTable(ctx, conn, name); err != nil {
		return err
	}
	if err := synth.CreateTable(ctx, conn, name); err != nil {
		return err
	}
	b.later(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, b.source)
		if err != nil {
			return fmt.Errorf("drop table %s: %w", name, err)
		}
		defer conn.Close(ctx)
		return dropTable(ctx, conn, name)
	})
	return nil
}

func dropTable(ctx context.Context, conn *pgx.Conn, name string) error {
	if _, err := conn.Exec(ctx, "drop table if exists "+name); err != nil {
		return fmt.Errorf("drop table %s: %w", name, err)
	}
	return nil
}

// settle makes a table one that was filled long ago: its hint bits are set, its
// statistics gathered and its pages on disk. That is not to be paid for by
// the first reader.
func settle(ctx context.Context, conn *pgx.Conn, name string) error {
	for _, statement := range []string{"vacuum analyze " + name, "checkpoint"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func firstDay() time.Time { return time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC) }

func newestFirst(n int) []node.Day {
	day := node.DayOf(firstDay().UnixMicro()) + node.Day(n)
	list := make([]node.Day, n)
	for i := range list {
		day--
		list[i] = day
	}
	return list
}

// dropIndices removes the daily indices, today's too: rewritten rows are there.
// By name, as a cluster may refuse to delete by a pattern.
func (b *bed) dropIndices(ctx context.Context) error {
	list, err := b.request(ctx, http.DefaultClient, call{method: http.MethodGet, path: "/_cat/indices/" + alias + "-*?h=index"})
	if err != nil {
		return err
	}
	for names := range slices.Chunk(strings.Fields(string(list)), 50) { // a request line has 4 kB at most
		if err := b.remove(ctx, "/"+strings.Join(names, ",")+"?ignore_unavailable=true"); err != nil {
			return err
		}
	}
	return nil
}

func (b *bed) remove(ctx context.Context, path string) error {
	_, err := b.request(ctx, http.DefaultClient, call{method: http.MethodDelete, path: path})
	return err
}

// call is one request to the cluster.
type call struct {
	method, path string
	body         io.Reader
}

// request returns the answer's body.
func (b *bed) request(ctx context.Context, client *http.Client, c call) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, c.method, b.target+c.path, c.body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", c.method, c.path, response.Status)
	}
	return content, err
}

func say(text string) { fmt.Fprintln(os.Stderr, text) }
