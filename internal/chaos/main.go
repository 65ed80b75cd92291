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
	"sync"
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
	tables := flag.Int("tables", 2, "`number` of rounds at the same time, each with servers of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := campaign(ctx, options{*faults, *rows, *seed, *limit, *tables}, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

type options struct {
	faults int
	rows   int
	seed   uint64
	limit  time.Duration
	tables int
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
	sent        int64         // bytes of bulk requests
	resent      int64         // of them, those that were sent before
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

func newResults() *results {
	return &results{faults: make(map[string]int), ended: make(map[end]int), said: make(map[string]int)}
}

// merge adds what another table has played.
func (r *results) merge(other *results) {
	rounds := r.rounds
	r.add(other.comparison)
	r.rounds, r.runs, r.copiedAgain = rounds+other.rounds, r.runs+other.runs, r.copiedAgain+other.copiedAgain
	r.sent, r.resent, r.slowest = r.sent+other.sent, r.resent+other.resent, max(r.slowest, other.slowest)
	for name, n := range other.faults {
		r.faults[name] += n
	}
	for one, n := range other.ended {
		r.ended[one] += n
	}
	for text, n := range other.said {
		r.said[text] += n
	}
}

func (r *results) injected() (n int) {
	for _, times := range r.faults {
		n += times
	}
	return n
}

func campaign(ctx context.Context, o options, out io.Writer) error {
	started := time.Now()
	var mu sync.Mutex
	left, seed := o.faults, o.seed
	next := func() (round options, more bool) {
		mu.Lock()
		defer mu.Unlock()
		if left <= 0 || time.Since(started) >= o.limit || ctx.Err() != nil {
			return options{}, false
		}
		round = options{faults: min(faultsOfRound, left), rows: o.rows, seed: seed}
		left, seed = left-round.faults, seed+1
		return round, true
	}
	total := newResults()
	var failed []error
	var tables sync.WaitGroup
	for range o.tables {
		tables.Go(func() {
			here := newResults()
			err := here.table(ctx, next, func(text string) {
				mu.Lock()
				defer mu.Unlock()
				_, _ = io.WriteString(out, text) // what nobody reads fails no round
			})
			mu.Lock()
			defer mu.Unlock()
			total.merge(here)
			failed = append(failed, err)
		})
	}
	tables.Wait()
	total.print(out, time.Since(started))
	return errors.Join(append(failed, ctx.Err())...)
}

// table plays rounds on servers of its own.
func (r *results) table(ctx context.Context, next func() (options, bool), tell func(string)) (err error) {
	on, err := startServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, on.stop()) }()
	for {
		o, more := next()
		if !more {
			r.sent, r.resent = on.http.sent()
			return err
		}
		var text strings.Builder
		err = errors.Join(err, r.play(ctx, on, o, &text))
		tell(text.String())
	}
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
func (r *results) print(out io.Writer, took time.Duration) {
	fmt.Fprintf(out, "\n| fault | times | run ended by the signal | with 130 | with 1 |\n|---|---:|---:|---:|---:|\n")
	for _, name := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d |\n", name, r.faults[name],
			r.ended[end{name, killed}], r.ended[end{name, 130}], r.ended[end{name, 1}])
	}
	fmt.Fprintf(out, "\n%d faults in %d rounds and %s; %d runs of the tool; %d ids; %.1f MB were sent in bulk requests, of them %.1f MB twice.\n",
		r.injected(), r.rounds, took.Round(time.Second), r.runs, r.nodes, float64(r.sent)/1e6, float64(r.resent)/1e6)
	fmt.Fprintf(out, "Lost %d, doubled %d, resurrected %d, with other bytes %d, settings left %d.\n", r.lost, r.doubled, r.resurrected, r.wrong, r.comparison.settings)
	fmt.Fprintf(out, "%d runs with --copy-again; the slowest stop took %.1f s.\n\n", r.copiedAgain, r.slowest.Seconds())
	for _, message := range slices.SortedFunc(maps.Keys(r.said), func(a, b string) int { return cmp.Compare(r.said[b], r.said[a]) }) {
		fmt.Fprintf(out, "%4d x exit code 1: %s\n", r.said[message], message)
	}
}
