// Command bench measures, in one run on one machine, how near the tool comes
// to what PostgreSQL gives and OpenSearch takes, and what it costs in CPU and
// memory (promise 8). docs/benchmark.md says what each figure means.
//
//	go run ./internal/bench
//
// It exits 0 when all measurements could be made, whether or not the figures
// are those that are wanted: a busy machine misses them too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// options are the command line.
type options struct {
	opensearch string // version to start
	source     string // URL of a PostgreSQL to use instead of starting one
	target     string // URL of an OpenSearch to use instead of starting one
	megabytes  int    // of data, 1e6 bytes each
	days       int    // that the data is spread over
	rounds     int
	seed       uint64
	json       bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", strings.ReplaceAll(err.Error(), "\n", " "))
		if remedy := hint.Of(err); remedy != "" {
			fmt.Fprintln(os.Stderr, "  ->", remedy)
		}
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.opensearch, "opensearch", testbed.DefaultOpenSearch, "`version` of OpenSearch to start")
	flags.StringVar(&o.source, "source", "", "`URL` of a PostgreSQL to use instead; table "+table+" is made in it")
	flags.StringVar(&o.target, "target", "", "`URL` of an OpenSearch to use instead; indices and template "+alias+"* are made in it")
	flags.IntVar(&o.megabytes, "mb", 600, "size of the data in `MB`; the wanted figures are meant for 500 or more")
	flags.IntVar(&o.days, "days", 10, "how many `days` the data is spread over, one index each; the wanted memory is meant for 10")
	flags.IntVar(&o.rounds, "rounds", 3, "how `often` each measurement is made; medians are shown")
	flags.Uint64Var(&o.seed, "seed", 1, "which events: the same `number` makes the same")
	flags.BoolVar(&o.json, "json", false, "print one JSON object instead of a table")
	err := flags.Parse(args)
	if err == nil && (o.megabytes < 1 || o.days < 1 || o.rounds < 1 || flags.NArg() > 0) {
		err = errors.New("bench: -mb, -days and -rounds want 1 or more, and there are no arguments")
		fmt.Fprintln(os.Stderr, err)
	}
	return o, err
}

func run(ctx context.Context, o options, results io.Writer) (err error) {
	b := &bed{}
	defer func() { err = errors.Join(err, b.tearDown(context.WithoutCancel(ctx))) }()
	if err := b.setUp(ctx, o); err != nil {
		return err
	}
	r, err := measure(ctx, b, o.rounds)
	if err != nil {
		return err
	}
	if o.json {
		return r.writeJSON(results)
	}
	return r.writeTable(results)
}
