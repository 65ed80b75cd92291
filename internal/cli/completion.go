package cli

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// The scripts ask the tool itself what may come next, so they fit whichever
// version is on the PATH. Where it has nothing to say they offer files.
var (
	//go:embed completion/bash.sh
	bashCompletion string
	//go:embed completion/zsh.zsh
	zshCompletion string
	//go:embed completion/fish.fish
	fishCompletion string
)

// completionCommand prints the script that a shell reads.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell to print it for: ${enum}."`
}

// Help is the long help of the verb.
func (completionCommand) Help() string {
	return `Prints a script that makes the shell complete verbs, flags and their values. nodestore-migrate must be on the PATH.

Examples:
  source <(nodestore-migrate completion bash)                                     # in ~/.bashrc
  source <(nodestore-migrate completion zsh)                                      # in ~/.zshrc, after compinit
  nodestore-migrate completion fish | source                                      # in ~/.config/fish/config.fish

` + exitCodes
}

func (completionCommand) problems(found []string) []string { return found }

// Run prints the script.
func (c *completionCommand) Run(_ context.Context, p *process) error {
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	_, err := fmt.Fprint(p.stdout, script)
	return err
}

// completeCommand answers the scripts.
type completeCommand struct {
	Words []string `arg:"" optional:"" help:"What stands behind the program's name; the last word is the one to complete, empty if it is not begun."`
}

func (completeCommand) problems(found []string) []string { return found }

// Run prints a candidate a line, a tab and what it is about.
func (c *completeCommand) Run(_ context.Context, p *process) error {
	for _, found := range complete(p.model, c.Words) {
		text, _, _ := strings.Cut(found.help, "\n")
		if _, err := fmt.Fprintf(p.stdout, "%s\t%s\n", found.word, text); err != nil {
			return err
		}
	}
	return nil
}

// candidate is a word that may come next.
type candidate struct{ word, help string }

// complete returns what the last of the words can become. Nothing means that
// it can be anything, for example a file.
func complete(root *kong.Node, words []string) (found []candidate) {
	words = joined(words)
	begun, before := "", words
	if len(words) > 0 {
		begun, before = words[len(words)-1], words[:len(words)-1]
	}
	verb := verbIn(root, before)
	prefix, candidates := "", following(verb, begun)
	if name, value, assigned := strings.Cut(begun, "="); assigned {
		prefix, begun, candidates = name+"=", value, values(flagOf(verb, name))
	} else if len(before) > 0 && wantsValue(verb, before[len(before)-1]) {
		candidates = values(flagOf(verb, before[len(before)-1]))
	}
	for _, c := range candidates {
		if strings.HasPrefix(c.word, begun) {
			found = append(found, candidate{prefix + c.word, c.help})
		}
	}
	return found
}

// joined puts together what bash takes apart: --flag, =, value.
func joined(words []string) (result []string) {
	for i, word := range words {
		last := len(result) - 1
		assigns := word == "=" && last >= 0 && strings.HasPrefix(result[last], "--")
		if assigns || last >= 0 && words[i-1] == "=" && strings.HasSuffix(result[last], "=") {
			result[last] += word
			continue
		}
		result = append(result, word)
	}
	return result
}

// following are the words that may follow a verb, or the program's name.
func following(verb *kong.Node, begun string) (found []candidate) {
	if strings.HasPrefix(begun, "-") {
		for _, group := range verb.AllFlags(true) {
			for _, flag := range group {
				found = append(found, candidate{"--" + flag.Name, flag.Help})
			}
		}
		return found
	}
	if verb.Name == "help" {
		verb = verb.Parent
	}
	for _, child := range verb.Children { // of the program; a verb has none
		if !child.Hidden {
			found = append(found, candidate{child.Name, child.Help})
		}
	}
	for _, argument := range verb.Positional {
		found = append(found, values(argument)...)
	}
	return found
}

// values are those that a flag or argument takes, if they can be listed.
func values(of *kong.Value) (found []candidate) {
	if of == nil || of.Enum == "" {
		return nil
	}
	for _, word := range of.EnumSlice() {
		found = append(found, candidate{word, ""})
	}
	return found
}

// verbIn is the verb of a command line, or the program where there is none in it.
func verbIn(root *kong.Node, words []string) *kong.Node {
	for _, word := range words {
		for _, verb := range root.Children {
			if verb.Name == word {
				return verb
			}
		}
	}
	return root
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

// wantsValue says whether a word is a flag whose value has to follow.
func wantsValue(verb *kong.Node, word string) bool {
	flag := flagOf(verb, word)
	return flag != nil && !flag.IsBool()
}
