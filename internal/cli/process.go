package cli

import (
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

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
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

const exitCodes = `Exit codes: 0 success, 1 failed, 2 usage, 3 finished with rejected or differing nodes, 4 plan: no-go, ` +
	`5 checkpoint in use, 130 interrupted.`

// errRejected makes the exit code 3. The summary has said why.
var errRejected = errors.New("nodes were rejected, or are missing")

// process is what a command gets from the operating system.
type process struct {
	stdout io.Writer
	screen bool // stdout is a terminal
	stderr io.Writer
	getenv func(string) string
	args   []string        // the words after the program's name
	json   bool            // the run is to print JSON, as far as that is known yet
	model  *kong.Node      // of what may be said there
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
		"what is done is recorded in the checkpoint: nodestore-migrate status shows it")
}

// unread says whether standard output has no reader any more.
func (p *process) unread() bool {
	out, ok := p.stdout.(*results)
	return ok && out.broken() != nil
}

// dumb says whether the terminal, if there is one, can do nothing but print lines.
func (p *process) dumb() bool { return p.getenv("TERM") == "dumb" }

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

// say prints one line that says what went wrong, and one what to do about it.
func say(p *process, text, remedy string) {
	fmt.Fprintln(p.stderr, "nodestore-migrate:", strings.ReplaceAll(text, "\n", " "))
	if remedy != "" {
		fmt.Fprintln(p.stderr, "  ->", remedy)
	}
}

// words writes a name of JSON for a person.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// stopLimit is how long the whole of a verb may take to stop in good order: less
// than the half minute after which Kubernetes kills.
const stopLimit = 20 * time.Second

// hangLimit is for what does not end with its context: a terminal or a pipe that
// takes no more, such as after Ctrl-S, holds up what writes to it.
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

// onUser1 calls show at each SIGUSR1 until the returned function is called.
func onUser1(show func()) (stop func()) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	var listening sync.WaitGroup
	listening.Go(func() {
		for range asked {
			show()
		}
	})
	return func() {
		signal.Stop(asked)
		close(asked)
		listening.Wait()
	}
}
