// Command readme puts into README.md what the tool prints at a terminal: it
// starts real servers, fills nodestore_node, runs `plan`, `migrate` and `status`,
// and replaces the text between the markers. docs/development.md says what of
// that text is not as it was printed. It needs util-linux's script.
//
//	go run ./internal/readme
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

func main() {
	rows := flag.Int("rows", 60_000, "how many `rows` the table has")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rows); err != nil {
		fmt.Fprintln(os.Stderr, "readme:", err)
		os.Exit(1)
	}
}

// run replaces all blocks, or none.
func run(ctx context.Context, rows int) (err error) {
	dir, err := os.MkdirTemp("", "nodestore-readme-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir, ".")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tool: %w: %s", err, output)
	}
	postgres, err := testbed.StartPostgres(ctx, testbed.PostgresOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	search, err := testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Heap: "1g"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, search.Stop()) }()
	source, err := fill(ctx, postgres.URL(), rows)
	if err != nil {
		return err
	}
	shown, err := show(dir, "--source "+source.String()+" --target "+search.URL())
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	plausible := strings.NewReplacer(
		source.Host, "localhost:5432", strings.TrimPrefix(search.URL(), "http://"), "localhost:9200",
		filepath.Base(search.Dir()), "opensearch", // the name of the cluster
	)
	content, err := os.ReadFile("README.md")
	readme := string(content)
	for name, text := range shown {
		text = plausible.Replace(text)
		if err = errors.Join(err, fit(text, host, os.TempDir(), filepath.Base(dir))); err == nil {
			readme, err = replace(readme, name, text)
		}
	}
	if err != nil {
		return err
	}
	return os.WriteFile("README.md", []byte(readme), 0o644)
}

// fill makes the table, and as much of the rest of Sentry's database as the tool looks
// at: it sees by that that this Sentry has one region and no silos. The source that it
// returns is Sentry's role in Sentry's database, without a password.
func fill(ctx context.Context, server string, rows int) (*url.URL, error) {
	source, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, server, "create role sentry login in role pg_read_all_stats", "create database sentry owner sentry"); err != nil {
		return nil, err
	}
	source.User, source.Path, source.RawQuery = url.User("sentry"), "/sentry", ""
	conn, err := pgx.Connect(ctx, source.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if err := synth.CreateTable(ctx, conn, "nodestore_node"); err != nil {
		return nil, err
	}
	// Now is in the tenth day: it is the one that Sentry may still write to.
	now := time.Now().UTC().Truncate(time.Second)
	_, err = synth.Fill(ctx, conn, "nodestore_node", synth.Options{
		Seed: 1, Rows: rows, From: now.Truncate(24*time.Hour).AddDate(0, 0, -9), Until: now, Mix: synth.Everything(), Distinct: 200,
	})
	if err != nil {
		return nil, err
	}
	return source, execute(ctx, source.String(),
		"create table auth_user as select 1 as id, 'admin' as username",
		"create table sentry_organization as select 1 as id, 'acme' as slug",
		"create table sentry_project as select 1 as id, 1 as organization_id",
		"vacuum analyze nodestore_node")
}

func execute(ctx context.Context, server string, statements ...string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// show runs the verbs in the order in which a person would: the status is asked for
// while nodes are copied, when the bar has come half way.
func show(dir, sides string) (map[string]string, error) {
	shown := map[string]string{}
	plan, err := atTerminal(dir, "plan --probe "+sides, nil)
	if err != nil {
		return nil, err
	}
	var bar, status string
	var above int // lines above the bar
	migrate, err := atTerminal(dir, "migrate "+sides, func(text string) (err error) {
		if found := bars.FindAllStringSubmatch(text, -1); bar == "" && len(found) > 0 {
			last := found[len(found)-1]
			if percent, _ := strconv.Atoi(last[2]); percent >= 50 {
				bar, above = last[1], strings.Count(text, "\n")
				status, err = atTerminal(dir, "status", nil)
			}
		}
		return err
	})
	if bar == "" && err == nil {
		err = errors.New("it was over before half of it was seen: more -rows will help")
	}
	lines := strings.Split(migrate, "\n")
	shown["plan"], shown["status"] = plan, status
	shown["migrate"] = strings.Join(slices.Insert(lines, min(above+2, len(lines)), bar), "\n") // below a command line of two lines
	return shown, err
}

// bars are the texts of the bar, and how many percent each has reached.
var bars = regexp.MustCompile(`([^\r\n]* (\d+)% \|[^\r\n|]*\|)`)

// atTerminal runs the tool at a terminal of 100 columns, and returns the command line
// and what stands there at the end. watch is called with what was written so far.
func atTerminal(dir, args string, watch func(text string) error) (string, error) {
	cmd := exec.Command("script", "--quiet", "--return", "--flush", "--command", "stty cols 100; exec ./nodestore-migrate "+args, os.DevNull)
	cmd.Dir = dir
	// Nothing of the environment of the person who runs this may show.
	cmd.Env = []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "SHELL=/bin/sh", "TZ=UTC", "TERM=xterm", "NO_COLOR=1", "LANG=C.UTF-8",
		"SENTRY_EVENT_RETENTION_DAYS=90", "SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_SHARDS=1",
		"SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_REPLICA=0", "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC=best_compression",
	}
	output, err := cmd.StdoutPipe()
	if err = errors.Join(err, cmd.Start()); err != nil {
		return "", err
	}
	var text bytes.Buffer
	part := make([]byte, 4096)
	for err == nil {
		var n int
		n, err = output.Read(part)
		text.Write(part[:n])
		if watch != nil && err == nil {
			err = watch(text.String())
		}
	}
	if ended := cmd.Wait(); errors.Is(err, io.EOF) && ended != nil && (cmd.ProcessState.ExitCode() != 3 || !strings.HasPrefix(args, "migrate")) {
		err = ended // some nodes are rejected, which is what 3 says
	}
	if !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("run %s: %w: %s", args, err, screen(text.String()))
	}
	return "$ nodestore-migrate " + strings.Replace(args, " --target", " \\\n    --target", 1) + "\n" + screen(text.String()), nil
}

// screen is what stands on a terminal after text was written to it, whose lines are
// written over as a whole or not at all.
func screen(text string) string {
	text = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`).ReplaceAllString(text, "")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r ")
		lines[i] = line[strings.LastIndex(line, "\r")+1:]
	}
	return strings.Join(lines, "\n")
}

// replace puts output, as a fenced block, between the marker of a verb, which must
// stand there once, and the next end.
func replace(document, name, output string) (string, error) {
	const end = "<!-- end -->"
	marker := "<!-- output of " + name + ": go run ./internal/readme -->\n"
	before, rest, found := strings.Cut(document, marker)
	inside, after, ended := strings.Cut(rest, end)
	if !found || !ended || strings.Contains(rest, marker) || strings.Contains(inside, "<!--") {
		return "", fmt.Errorf("the line %s has to be there once, and %s behind it", strings.TrimSpace(marker), end)
	}
	return before + marker + "```text\n" + strings.Trim(output, "\n") + "\n```\n" + end + after, nil
}

// fit refuses a text that has one of some words in it, or what no reader should see.
func fit(text string, words ...string) error {
	for _, word := range words {
		if word != "localhost" && strings.Contains(text, word) {
			return fmt.Errorf("the output has %q in it", word)
		}
	}
	if found := regexp.MustCompile("(?i)127\\.0\\.0\\.1|(localhost|\\[::1\\]):[1-6]\\d{4}|password|```|<!--").FindString(text); found != "" {
		return fmt.Errorf("the output has %q in it", found)
	}
	return nil
}
