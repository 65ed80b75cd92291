package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFlag names a file that gives flags their values.
type configFlag string

// BeforeResolve reads the file, before what is not given takes its default.
func (configFlag) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	name := string(ctx.FlagValue(trace.Flag).(configFlag))
	if name == "" {
		return nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	values, err := parseConfig(content)
	if err != nil {
		return fmt.Errorf("--config: %s: %w", name, err)
	}
	ctx.AddResolver(configured{name, values})
	return nil
}

// parseConfig reads flags and their values as they would be written on a command line.
// Its errors do not quote the file, which may hold a password (promise 10).
func parseConfig(content []byte) (map[string]string, error) {
	var entries map[string]yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("it is not a list of flags and values in YAML, such as alias: sentry")
	}
	values := map[string]string{}
	for name, entry := range entries {
		parts := []*yaml.Node{&entry}
		if entry.Kind == yaml.SequenceNode {
			parts = entry.Content
		}
		var texts []string
		for _, part := range parts {
			if part.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: %s wants one value, or a list of values", part.Line, name)
			}
			texts = append(texts, part.Value)
		}
		values[name] = strings.Join(texts, ",")
	}
	return values, nil
}

// configured are values of flags by their names, from a file. The command line and the
// environment come before them.
type configured struct {
	file   string
	values map[string]string
}

// Validate wants every name to be a flag of some verb: one file serves all verbs.
func (c configured) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, verb := range app.Children {
		for _, flag := range verb.Flags {
			known[flag.Name] = !flag.Hidden && flag.Name != "help"
		}
	}
	for name := range c.values {
		if !known[name] {
			return fmt.Errorf("--config: %s: no verb has a flag --%s", c.file, name)
		}
	}
	return nil
}

// Resolve returns the value of a flag, or nil. A demo does not go to the servers of a
// migration because a file names them.
func (c configured) Resolve(_ *kong.Context, at *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := c.values[flag.Name]
	if !ok || at.Node().Name == "demo" {
		return nil, nil
	}
	for _, variable := range flag.Envs {
		if os.Getenv(variable) != "" {
			return nil, nil
		}
	}
	return value, nil
}
