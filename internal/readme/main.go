// Command readme puts into README.md what the tool prints at a terminal: it
// starts real servers, fills nodestore_node, runs `plan`, `migrate` and `status`,
// and replaces the text between the markers. docs/development.md says what of
// that text is not as it was printed.
//
//	go run ./internal/readme
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// options are the command line.
type options struct {
	file string // to write into
	rows int
	seed uint64
}

func main() {
	var o options
	flag.StringVar(&o.file, "file", "README.md", "`file` that has the markers")
	flag.IntVar(&o.rows, "rows", 60_000, "how many `rows` the table has")
	flag.Uint64Var(&o.seed, "seed", 1, "which events: the same `number` makes the same")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "readme:", strings.ReplaceAll(err.Error(), "\n", " "))
		if remedy := hint.Of(err); remedy != "" {
			fmt.Fprintln(os.Stderr, "  ->", remedy)
		}
		os.Exit(1)
	}
}

// run replaces all blocks, or none.
func run(ctx context.Context, o options) error {
	content, err := os.ReadFile(o.file)
	if err != nil {
		return err
	}
	shown, err := show(ctx, o)
	if err != nil {
		return err
	}
	text := string(content)
	for _, name := range blocks() {
		if text, err = replace(text, name, shown[name]); err != nil {
			return fmt.Errorf("%s: %w", o.file, err)
		}
	}
	return os.WriteFile(o.file, []byte(text), 0o644)
}

// show runs the tool and returns what each block has to hold.
func show(ctx context.Context, o options) (_ map[string]string, err error) {
	dir, err := os.MkdirTemp("", "nodestore-readme-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tool := filepath.Join(dir, "nodestore-migrate")
	build := exec.CommandContext(ctx, "go", "build", "-o", tool, "github.com/nodestore-migrate/nodestore-migrate")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the tool: %w: %s", err, output)
	}
	s, err := startServers(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.fill(ctx, o); err != nil {
		return nil, err
	}
	return (&session{servers: s, tool: tool, dir: dir}).show(ctx)
}
