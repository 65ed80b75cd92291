package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// parse returns the verb that was asked for, or nil and the exit code.
func parse(p *process, args []string) (command, int) {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var problems []string
	for {
		a, err := attemptParse(p, args)
		if err != nil {
			return nil, conclude(p, err)
		}
		if errors.Is(a.problem, syscall.EPIPE) { // help, whose reader had enough
			return nil, exitDone
		}
		if a.exited >= 0 {
			return nil, a.exited
		}
		if a.problem == nil {
			problems = a.selected.problems(problems)
			if len(problems) == 0 {
				return a.selected, exitDone
			}
			return nil, misused(p, problems)
		}
		// kong stops at the first wrong word: it is taken out, so that the
		// others are named too.
		problems = append(problems, a.wording(args))
		rest := a.without(args)
		if len(rest) == len(args) || a.verb == nil {
			return nil, misused(p, problems)
		}
		args = rest
	}
}

// misused prints what is wrong with the command line.
func misused(p *process, problems []string) int {
	for _, problem := range problems {
		fmt.Fprintln(p.stderr, "nodestore-migrate:", problem)
	}
	fmt.Fprintln(p.stderr, "  -> nodestore-migrate --help lists the verbs, and each verb's --help its flags")
	return exitUsage
}

// attempt is what kong makes of a command line.
type attempt struct {
	selected command    // nil after a problem
	verb     *kong.Node // nil if no verb was recognised
	root     *kong.Node
	problem  error
	exited   int // the exit code if --help or --version was asked for, else -1
}

func newParser(p *process, g *grammar, exit func(code int)) (*kong.Kong, error) {
	return kong.New(g,
		kong.Name("nodestore-migrate"),
		kong.Description("Moves Sentry's event payloads out of PostgreSQL's nodestore_node into OpenSearch's daily indices, so that Sentry can read every one of them.\n\n"+exitCodes),
		kong.Vars{"version": versionText()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(exit),
	)
}

func attemptParse(p *process, args []string) (*attempt, error) {
	a := &attempt{exited: -1}
	parser, err := newParser(p, new(grammar), func(code int) { a.exited = code })
	if err != nil {
		return nil, err
	}
	a.root = parser.Model.Node
	parsed, err := parser.Parse(args)
	if a.problem = err; err == nil && a.exited < 0 {
		a.selected = parsed.Selected().Target.Addr().Interface().(command)
	}
	a.verb = verbIn(a.root, args)
	return a, nil
}

// verbIn is the verb of a command line, nil if there is none in it.
func verbIn(root *kong.Node, words []string) *kong.Node {
	for _, word := range words {
		for _, verb := range root.Children {
			if verb.Name == word {
				return verb
			}
		}
	}
	return nil
}

// flagOf is a flag that may stand behind a verb, nil if it has none of that name.
func flagOf(verb *kong.Node, word string) *kong.Value {
	for _, group := range verb.AllFlags(false) {
		for _, flag := range group {
			if "--"+flag.Name == word {
				return flag.Value
			}
		}
	}
	return nil
}

// wording says what is wrong.
func (a *attempt) wording(args []string) string {
	text := a.problem.Error()
	if flag, _, ok := strings.Cut(text, `: expected string value but got "EOL"`); ok {
		return flag + ": its value is missing"
	}
	if a.verb != nil || strings.HasPrefix(text, "-") {
		return text
	}
	var verbs []string
	for _, verb := range a.root.Children {
		if !verb.Hidden {
			verbs = append(verbs, verb.Name)
		}
	}
	text = "name a verb: " + strings.Join(verbs, ", ")
	if word := firstWord(args); word != "" {
		text = fmt.Sprintf("there is no verb %q; %s", word, text)
	}
	return text
}

func firstWord(args []string) string {
	i := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	if i < 0 {
		return ""
	}
	return args[i]
}

// without returns the words of a command line less the one that the problem is
// about, and less the value of a flag. They stay as they are if the value that
// is wrong came from the environment.
func (a *attempt) without(args []string) []string {
	word, isFlag := a.culprit()
	for i, arg := range args {
		name, _, assigned := strings.Cut(arg, "=")
		if name != word && arg != word {
			continue
		}
		end := i + 1
		if isFlag && !assigned && !a.isSwitch(word) && end < len(args) && !strings.HasPrefix(args[end], "-") {
			end++
		}
		return slices.Concat(args[:i], args[end:])
	}
	return args
}

// culprit is the word that kong's message names.
func (a *attempt) culprit() (word string, isFlag bool) {
	text := a.problem.Error()
	for _, opening := range []string{"unknown flag ", "unexpected argument "} {
		if rest, ok := strings.CutPrefix(text, opening); ok {
			word, _, _ = strings.Cut(rest, ",")
			return word, strings.HasPrefix(word, "-")
		}
	}
	word, _, _ = strings.Cut(text, " ")
	return strings.TrimSuffix(word, ":"), strings.HasPrefix(word, "-")
}

// isSwitch reports whether a flag takes no value.
func (a *attempt) isSwitch(word string) bool {
	if a.verb == nil {
		return false
	}
	flag := flagOf(a.verb, word)
	return flag != nil && flag.IsBool()
}
