// Command bench measures, in one run on one machine, how near the tool comes
// to what PostgreSQL gives and OpenSearch takes, what it costs in CPU and
// memory (promise 8), what catching up costs, and how fast it verifies.
// docs/benchmark.md says what each figure means.
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
	"slices"
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
	rows       int    // of the larger of the two tables of small rows
	rounds     int
	only       []string // parts; empty is all
	seed       uint64
	json       bool
}

// The parts of the benchmark.
const (
	copyPart    = "copy"
	catchUpPart = "catchup"
	verifyPart  = "verify"
	costPart    = "cost"
	readingPart = "reading"
	scalePart   = "scale"
	memoryPart  = "memory"
)

func parts() []string {
	return []string{copyPart, catchUpPart, verifyPart, costPart, readingPart, scalePart, memoryPart}
}

func (o options) wants(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }

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
	flags.StringVar(&o.source, "source", "", "`URL` of a PostgreSQL to use instead; tables "+table+"* are made in it")
	flags.StringVar(&o.target, "target", "", "`URL` of an OpenSearch to use instead; indices and template "+alias+"* are made in it")
	flags.IntVar(&o.megabytes, "mb", 600, "size of the data in `MB`; the wanted figures are meant for 500 or more")
	flags.IntVar(&o.days, "days", 10, "how many `days` the data is spread over, one index each; the wanted memory is meant for 10")
	flags.IntVar(&o.rows, "rows", 1_000_000, "how many small `rows` catching up and comparing ids are measured with; the former also with a tenth of them")
	flags.Func("only", "measure only these `parts`, comma separated: "+strings.Join(parts(), ", "), o.setParts)
	flags.IntVar(&o.rounds, "rounds", 3, "how `often` each measurement is made; medians are shown")
	flags.Uint64Var(&o.seed, "seed", 1, "which events: the same `number` makes the same")
	flags.BoolVar(&o.json, "json", false, "print one JSON object instead of a table")
	err := flags.Parse(args)
	if err == nil {
		err = o.problem(flags.NArg())
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	return o, err
}

func (o *options) setParts(list string) error {
	o.only = strings.Split(list, ",")
	for _, part := range o.only {
		if !slices.Contains(parts(), part) {
			return fmt.Errorf("there is no part %q", part)
		}
	}
	return nil
}

func (o options) problem(arguments int) error {
	if o.megabytes < 1 || o.days < 1 || o.rounds < 1 || arguments > 0 {
		return errors.New("-mb, -days and -rounds want 1 or more, and there are no arguments")
	}
	if least := fewerTimes * changedRows * (o.rounds + 2); o.rows < least {
		return fmt.Errorf("-rows wants %d or more: each of %d rounds rewrites %d rows of a tenth of them", least, o.rounds, changedRows)
	}
	return nil
}

func run(ctx context.Context, o options, results io.Writer) (err error) {
	b := &bed{}
	defer func() { err = errors.Join(err, b.tearDown(context.WithoutCancel(ctx))) }()
	if err := b.setUp(ctx, o); err != nil {
		return err
	}
	r := newResult(b, o)
	if err := r.measure(ctx, b, o); err != nil {
		return err
	}
	if o.json {
		return r.writeJSON(results)
	}
	return r.writeTable(results)
}
