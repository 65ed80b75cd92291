// Package cli is the command line: flags and environment, progress, exit
// codes. It is the only place that knows a terminal.
//
// The rules of output: results go to standard output, everything else to
// standard error. An error is one line, and a second one that says what to do.
// The last line of `migrate --json` is one object of type "summary".
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

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

const exitCodes = `Exit codes: 0 done; 1 could not, the error says what to do; 2 wrong usage; ` +
	`3 done, but nodes were rejected or differ; 4 plan says no-go; 5 another run holds the checkpoint; 130 interrupted, run again to go on.`

// errRejected makes the exit code 3. The summary has said why.
var errRejected = errors.New("nodes were rejected, or are missing")

// grammar is the whole command line, for kong.
type grammar struct {
	Plan    planCommand    `cmd:"" help:"See what is there and what would happen: go or no-go."`
	Migrate migrateCommand `cmd:"" help:"Copy the nodes; run again to go on."`
	Demo    demoCommand    `cmd:"" help:"See all of it work, on servers that it starts itself."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// process is what a command gets from the operating system.
type process struct {
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	stop   <-chan struct{} // closed at the first interrupt: finish what is open
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
	p := &process{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	p.stop = interrupts(cancel, p.stderr)
	return run(ctx, p, os.Args[1:])
}

// interrupts closes the returned channel at the first SIGINT or SIGTERM and
// calls cancel at the second.
func interrupts(cancel context.CancelFunc, stderr io.Writer) <-chan struct{} {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stop := make(chan struct{})
	go func() {
		<-signals
		fmt.Fprintln(stderr, "\nFinishing what is open and saving the checkpoint; interrupt again to stop at once.")
		close(stop)
		<-signals
		cancel()
	}()
	return stop
}

func run(ctx context.Context, p *process, args []string) int {
	selected, code := parse(p, args)
	if selected == nil {
		return code
	}
	err := selected.Run(ctx, p)
	return report(p, err)
}

// parse returns the verb that was asked for, or nil and the exit code.
func parse(p *process, args []string) (command, int) {
	var g grammar
	exited := -1
	parser, err := kong.New(&g,
		kong.Name("nodestore-migrate"),
		kong.Description("Moves Sentry's event payloads out of PostgreSQL's nodestore_node into OpenSearch's daily indices, so that Sentry can read every one of them.\n\n"+exitCodes),
		kong.Vars{"version": versionText()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		return nil, report(p, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return nil, exited
	}
	if problems := usageProblems(parser, parsed, args, err); len(problems) > 0 {
		for _, problem := range problems {
			fmt.Fprintln(p.stderr, "nodestore-migrate:", problem)
		}
		fmt.Fprintln(p.stderr, "  nodestore-migrate --help lists the verbs, and each verb's --help its flags.")
		return nil, exitUsage
	}
	return parsed.Selected().Target.Addr().Interface().(command), 0
}

// usageProblems names all that is wrong with the words of the command line at
// once. kong stops at the first unknown flag, so those are looked for again.
func usageProblems(parser *kong.Kong, parsed *kong.Context, args []string, err error) []string {
	problems := unknownFlags(parser, args)
	if err != nil && !strings.HasPrefix(err.Error(), "unknown flag") {
		problems = append(problems, err.Error())
	}
	if err != nil {
		return problems
	}
	return parsed.Selected().Target.Addr().Interface().(command).problems(problems)
}

func unknownFlags(parser *kong.Kong, args []string) (problems []string) {
	known := make(map[string]bool)
	var collect func(*kong.Node)
	collect = func(n *kong.Node) {
		for _, flag := range n.Flags {
			known[flag.Name] = true
		}
		for _, child := range n.Children {
			collect(child)
		}
	}
	collect(parser.Model.Node)
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && !known[name] {
			problems = append(problems, "unknown flag --"+name)
		}
	}
	return problems
}

// report prints an error with its remedy, and returns the exit code for it.
func report(p *process, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRejected):
		return exitRejected
	case errors.Is(err, errNoGo):
		return exitNoGo
	case errors.Is(err, migrate.ErrInterrupted), errors.Is(err, context.Canceled):
		fmt.Fprintln(p.stderr, "nodestore-migrate: interrupted; run the same command again to go on")
		return exitInterrupted
	}
	fmt.Fprintln(p.stderr, "nodestore-migrate:", strings.ReplaceAll(err.Error(), "\n", " "))
	if remedy := hint.Of(err); remedy != "" {
		fmt.Fprintln(p.stderr, "  ->", remedy)
	}
	if errors.Is(err, checkpoint.ErrHeld) {
		return exitHeld
	}
	return exitFailed
}
