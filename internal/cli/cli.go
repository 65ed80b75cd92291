// Package cli is the command line: flags and environment, progress, exit
// codes. It is the only place that knows a terminal.
//
// The rules of output: results go to standard output, everything else to
// standard error. An error is one line, and a second one that says what to do.
// The last line of a run with --json is its result, or one object of type "error"
// that says why there is none.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// grammar is the whole command line, for kong.
type grammar struct {
	Plan    planCommand    `cmd:"" help:"See what is there and what would happen: go or no-go."`
	Migrate migrateCommand `cmd:"" help:"Copy the nodes; run again to resume."`
	Verify  verifyCommand  `cmd:"" help:"Prove that all is there and readable, or list what is not."`
	Status  statusCommand  `cmd:"" help:"See how far the migration is, day by day."`

	demoVerb // unless it was left out of the build

	Completion completionCommand `cmd:"" help:"Print a script that completes verbs and flags in a shell."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what may come next, for the scripts of completion."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
	Help       helpCommand       `cmd:"" help:"Print this, or what a verb does and its flags."`

	Config      configFlag       `help:"YAML file that gives flags their values, such as alias: sentry, for whichever verbs have them. The command line and the environment come before it." env:"NODESTORE_CONFIG" placeholder:"FILE"`
	VersionFlag kong.VersionFlag `name:"version" help:"Print the version and exit."`
}

// command is one verb. ctx ends at the second interrupt.
type command interface {
	Run(ctx context.Context, p *process) error
	// problems adds what is wrong with the flags beside their values.
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

func run(ctx context.Context, p *process, args []string) int {
	selected, code := parse(p, args)
	if selected == nil {
		return code
	}
	p.args = args
	if passwordShown(args) {
		fmt.Fprintln(p.stderr, "warning: the list of processes shows the password on this command line to anybody on this machine; a file that --config names, the environment, or ~/.pgpass would not")
	}
	out := &results{writer: p.stdout}
	p.stdout = out
	code = conclude(p, selected.Run(ctx, p))
	if err := out.broken(); err != nil {
		say(p, err.Error(), remedy(err)) // no object: nobody could read it
		code = max(code, exitFailed)
	}
	return code
}

// parse returns the verb that was asked for, or nil and the exit code. Of what kong
// does not understand the first is named, else all that is wrong.
func parse(p *process, args []string) (command, int) {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	exited := -1 // the exit code if --help or --version was asked for
	parser, err := kong.New(new(grammar),
		kong.Name("nodestore-migrate"),
		kong.Description("Moves Sentry's event payloads out of PostgreSQL's nodestore_node into OpenSearch's daily indices, so that Sentry can read every one of them.\n\n"+exitCodes),
		kong.Vars{"version": versionText()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		return nil, conclude(p, err)
	}
	p.model, p.json = parser.Model.Node, asksForJSON(args)
	parsed, err := parser.Parse(args)
	switch last := args[len(args)-1]; {
	case errors.Is(err, syscall.EPIPE): // help, whose reader had enough
		return nil, exitDone
	case exited >= 0:
		return nil, exited
	case err != nil && wantsValue(verbIn(p.model, args), last):
		return nil, misused(p, last+": its value is missing")
	case err != nil:
		return nil, misused(p, err.Error())
	}
	verb := parsed.Selected()
	selected := verb.Target.Addr().Interface().(command)
	if help, ok := selected.(*helpCommand); ok && (help.Verb == "" || verbIn(p.model, []string{help.Verb}) != p.model) {
		return parse(p, strings.Fields(help.Verb+" --help"))
	}
	var found []string
	for _, flag := range verb.Flags {
		if flag.Name == "json" { // --config may have asked for it
			p.json = flag.Target.Bool()
		}
		if value, ok := flag.Target.Addr().Interface().(interface{ wrong() error }); ok && value.wrong() != nil {
			found = append(found, fmt.Sprintf("--%s: %s", flag.Name, value.wrong()))
		}
	}
	if found = selected.problems(found); len(found) > 0 {
		return nil, misused(p, found...)
	}
	return selected, exitDone
}

// versionCommand prints the version, as --version does.
type versionCommand struct{}

func (versionCommand) problems(found []string) []string { return found }

// Run prints it.
func (versionCommand) Run(_ context.Context, p *process) error {
	_, err := fmt.Fprintln(p.stdout, versionText())
	return err
}

// helpCommand prints what --help does; parse sees to it.
type helpCommand struct {
	Verb string `arg:"" optional:"" help:"Verb to explain."`
}

func (c helpCommand) problems(found []string) []string {
	return append(found, fmt.Sprintf("help: there is no verb %q", c.Verb))
}

// Run is never reached: a verb that is not there is a problem.
func (helpCommand) Run(context.Context, *process) error { return nil }

// misused prints what is wrong with the command line.
func misused(p *process, problems ...string) int {
	const remedy = "nodestore-migrate --help lists the verbs, and each verb's --help its flags"
	for _, problem := range problems {
		fmt.Fprintln(p.stderr, "nodestore-migrate:", problem)
	}
	fmt.Fprintln(p.stderr, "  ->", remedy)
	p.fail(exitUsage, strings.Join(problems, "; "), remedy)
	return exitUsage
}

// conclude prints an error with its remedy, and returns the exit code for it.
func conclude(p *process, err error) int {
	code := exitCode(err)
	switch code {
	case exitDone, exitRejected, exitNoGo: // the result has said it
		return code
	}
	text, remedy := err.Error(), remedy(err)
	if code == exitInterrupted {
		text, remedy = "interrupted", cmp.Or(remedy, "run the same command again to resume")
	}
	say(p, text, remedy)
	p.fail(code, text, remedy)
	return code
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRejected):
		return exitRejected
	case errors.Is(err, errNoGo):
		return exitNoGo
	case errors.Is(err, migrate.ErrInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, checkpoint.ErrHeld):
		return exitHeld
	}
	return exitFailed
}

// versionText says what was built, of what, with what.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "nodestore-migrate (no build information)"
	}
	text := "nodestore-migrate " + info.Main.Version
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" || setting.Key == "vcs.modified" {
			text += fmt.Sprintf(" %s=%s", setting.Key, setting.Value)
		}
	}
	return text + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
