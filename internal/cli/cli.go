// Package cli is the command line: flags and environment, progress, exit
// codes. It is the only place that knows a terminal.
//
// The rules of output: results go to standard output, everything else to
// standard error. An error is one line, and a second one that says what to do.
// The last line of `migrate --json` is one object of type "summary".
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// The exit codes are an interface: scripts and Kubernetes jobs rely on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRejected    = 3
	exitNoGo        = 4
	exitHeld        = 5
	exitInterrupted = 130
)

const exitCodes = `Exit codes: 0 success; 1 failed, the error says what to do; 2 usage; 3 finished, but nodes were rejected, are lost or differ; ` +
	`4 plan: no-go; 5 checkpoint in use; 130 interrupted, run again to resume.`

// errRejected makes the exit code 3. The summary has said why.
var errRejected = errors.New("nodes were rejected, or are missing")

// grammar is the whole command line, for kong.
type grammar struct {
	Plan    planCommand    `cmd:"" help:"See what is there and what would happen: go or no-go."`
	Migrate migrateCommand `cmd:"" help:"Copy the nodes; run again to resume."`
	Verify  verifyCommand  `cmd:"" help:"Prove that all is there and readable, or list what is not."`
	Status  statusCommand  `cmd:"" help:"See how far it is, day by day."`
	Demo    demoCommand    `cmd:"" help:"See all of it work, on servers that it starts itself."`

	Completion completionCommand `cmd:"" help:"Print a script that completes verbs and flags in a shell."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what may come next, for the scripts of completion."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// process is what a command gets from the operating system.
type process struct {
	stdout io.Writer
	screen bool // stdout is a terminal
	stderr io.Writer
	getenv func(string) string
	args   []string        // the words after the program's name
	stop   <-chan struct{} // closed at the first interrupt: finish what is open
}

// results are what a verb writes to standard output. Nothing ends because nobody
// reads them any more: the verb is told nothing, and the process says so at its end.
type results struct {
	mu     sync.Mutex
	writer io.Writer
	err    error // the first one
}

func (r *results) Write(text []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		_, r.err = r.writer.Write(text)
	}
	return len(text), nil
}

// broken is why nothing can be written any more.
func (r *results) broken() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		return nil
	}
	return hint.Add(fmt.Errorf("write the results to standard output: %w", r.err),
		"what was recorded is in the checkpoint: nodestore-migrate status shows it")
}

// unread says whether standard output has no reader any more.
func (p *process) unread() bool {
	out, ok := p.stdout.(*results)
	return ok && out.broken() != nil
}

// untilStopped returns a context that also ends at the first interrupt, for
// what has nothing to finish. cancel has to be called.
func (p *process) untilStopped(ctx context.Context) (_ context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(ctx)
	go func() {
		select {
		case <-p.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// command is one verb. ctx ends at the second interrupt.
type command interface {
	Run(ctx context.Context, p *process) error
	// problems adds what is wrong with the values of the flags.
	problems(found []string) []string
}

// Main runs the command line of this process and returns its exit code.
func Main() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &process{stdout: os.Stdout, screen: term.IsTerminal(int(os.Stdout.Fd())), stderr: os.Stderr, getenv: os.Getenv}
	p.stop = interrupts(cancel, p.stderr)
	return run(ctx, p, os.Args[1:])
}

// stopLimit is how long the whole of a verb may take to stop in good order: less
// than the half minute after which Kubernetes kills.
const stopLimit = 20 * time.Second

// hangLimit is for what does not end with its context: a terminal or a pipe that
// takes no more, such as after Ctrl-S, holds up whoever writes to it.
const hangLimit = 5 * time.Second

// interrupts closes the returned channel at the first signal to end, and calls
// cancel at the second, or when stopLimit is over; what hangs then is left alone,
// and a third one kills. A terminal that goes away is such a signal, unless nohup
// said otherwise. A pipe whose reader went away is none, nor is a file that may not
// grow: the write has its error. SIGUSR1 ends no verb, also where none answers it.
func interrupts(cancel context.CancelFunc, stderr io.Writer) <-chan struct{} {
	// Not Ignore, which the servers of a demo would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGXFSZ, syscall.SIGUSR1)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	stop := make(chan struct{})
	go func() {
		<-signals
		close(stop)
		end := func() {
			cancel()
			time.AfterFunc(hangLimit, func() { os.Exit(exitInterrupted) })
		}
		limit := time.AfterFunc(stopLimit, end)
		go fmt.Fprintln(stderr, "\nStopping in good order; interrupt again to stop at once.") // a terminal that hangs must not hold up the next signal
		<-signals
		limit.Stop()
		signal.Stop(signals)
		end()
	}()
	return stop
}

func run(ctx context.Context, p *process, args []string) int {
	selected, code := parse(p, args)
	if selected == nil {
		return code
	}
	p.args = args
	out := &results{writer: p.stdout}
	p.stdout = out
	code = conclude(p, selected.Run(ctx, p))
	if err := out.broken(); err != nil {
		say(p, err.Error(), hint.Of(err))
		code = max(code, exitFailed)
	}
	return code
}

// conclude prints an error with its remedy, and returns the exit code for it.
func conclude(p *process, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRejected):
		return exitRejected
	case errors.Is(err, errNoGo):
		return exitNoGo
	case errors.Is(err, migrate.ErrInterrupted), errors.Is(err, context.Canceled):
		say(p, "interrupted", cmp.Or(hint.Of(err), "run the same command again to resume"))
		return exitInterrupted
	}
	say(p, err.Error(), hint.Of(err))
	if errors.Is(err, checkpoint.ErrHeld) {
		return exitHeld
	}
	return exitFailed
}

// say prints one line that says what went wrong, and one what to do about it.
func say(p *process, text, remedy string) {
	fmt.Fprintln(p.stderr, "nodestore-migrate:", strings.ReplaceAll(text, "\n", " "))
	if remedy != "" {
		fmt.Fprintln(p.stderr, "  ->", remedy)
	}
}
