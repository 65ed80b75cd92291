// Command chaos is a campaign of faults against the tool, run by run as an
// operator would run it, on servers of its own: it ends, stops and cuts off
// whatever it can while Sentry works, and then has a reader of its own, which
// shares no code with the tool, say whether promises 1 to 5, 7 and 11 were kept.
// docs/reliability.md has what it does and what came of it.
//
//	go run ./internal/chaos -faults 1000 -seed 1
//
// The campaign consists of rounds: each is a whole migration with the switch and
// the verdict. A round that fails is played again by its own seed.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
)

// faultsOfRound keeps a round below two minutes.
const faultsOfRound = 60

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(cli.Main())
	}
	faults := flag.Int("faults", 1000, "`number` of faults to inject")
	seed := flag.Uint64("seed", 1, "`number` of the first round; an odd one has rows that are rejected")
	rows := flag.Int("rows", 1800, "`number` of rows before Sentry writes more")
	limit := flag.Duration("for", 30*time.Minute, "no round begins after this `time`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := campaign(ctx, options{*faults, *rows, *seed, *limit}, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

type options struct {
	faults int
	rows   int
	seed   uint64
	limit  time.Duration
}

// end is how a run ended after a fault.
type end struct {
	fault string
	code  int
}

// results are what is printed at the end.
type results struct {
	comparison
	faults map[string]int
	ended  map[end]int
	said   map[string]int // what runs that ended with 1 said first
	runs   int
	rounds int

	copiedAgain int           // runs with --copy-again
	slowest     time.Duration // from a signal to the end of a run
}

func (r *results) add(c comparison) {
	r.rounds++
	r.nodes += c.nodes
	r.lost += c.lost
	r.doubled += c.doubled
	r.resurrected += c.resurrected
	r.wrong += c.wrong
	r.comparison.settings += c.settings
}

func (r *results) injected() (n int) {
	for _, times := range r.faults {
		n += times
	}
	return n
}

func campaign(ctx context.Context, o options, out io.Writer) (err error) {
	started := time.Now()
	on, err := startServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, on.stop()) }()
	total := &results{faults: make(map[string]int), ended: make(map[end]int), said: make(map[string]int)}
	var failed []string
	for seed := o.seed; total.injected() < o.faults && time.Since(started) < o.limit; seed++ {
		here := options{min(faultsOfRound, o.faults-total.injected()), o.rows, seed, 0}
		if err := total.play(ctx, on, here, out); err != nil {
			failed = append(failed, err.Error())
		}
		if ctx.Err() != nil {
			break
		}
	}
	total.print(out, on, time.Since(started))
	if len(failed) > 0 {
		return errors.New(strings.Join(failed, "\n"))
	}
	return ctx.Err()
}

// play plays one round and prints its line, or what led to its failure.
func (r *results) play(ctx context.Context, on *servers, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	started, runs := time.Now(), r.runs
	on.http.forget()
	one, err := newRound(ctx, on, r, o.seed)
	if err == nil {
		err = one.play(o.rows, o.faults)
	}
	state := "safe, and so says the reader"
	if err != nil || len(one.failed) > 0 {
		state = "FAILED"
	}
	fmt.Fprintf(out, "seed %d: %d faults, %d runs, %d ids, %s: %s\n", o.seed, o.faults, r.runs-runs, len(one.ids), time.Since(started).Round(time.Second), state)
	if err == nil && len(one.failed) == 0 {
		return nil
	}
	fmt.Fprintf(out, "  %s\n", strings.Join(one.events, "\n  "))
	return fmt.Errorf("seed %d: %w", o.seed, errors.Join(err, errors.New(strings.Join(one.failed, "; "))))
}

// print prints the table as Markdown, as docs/reliability.md has it.
func (r *results) print(out io.Writer, on *servers, took time.Duration) {
	fmt.Fprintf(out, "\n| fault | times | run ended by the signal | with 130 | with 1 |\n|---|---:|---:|---:|---:|\n")
	for _, name := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d |\n", name, r.faults[name],
			r.ended[end{name, killed}], r.ended[end{name, 130}], r.ended[end{name, 1}])
	}
	bytes, resent := on.http.sent()
	fmt.Fprintf(out, "\n%d faults in %d rounds and %s; %d runs of the tool; %d ids; %.1f MB were sent in bulk requests, of them %.1f MB twice.\n",
		r.injected(), r.rounds, took.Round(time.Second), r.runs, r.nodes, float64(bytes)/1e6, float64(resent)/1e6)
	fmt.Fprintf(out, "Lost %d, doubled %d, resurrected %d, with other bytes %d, settings left %d.\n", r.lost, r.doubled, r.resurrected, r.wrong, r.comparison.settings)
	fmt.Fprintf(out, "%d runs with --copy-again; the slowest stop took %.1f s.\n\n", r.copiedAgain, r.slowest.Seconds())
	for _, message := range slices.SortedFunc(maps.Keys(r.said), func(a, b string) int { return cmp.Compare(r.said[b], r.said[a]) }) {
		fmt.Fprintf(out, "%4d x exit code 1: %s\n", r.said[message], message)
	}
}
