package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
)

// blockOf returns the one block of code of a page of docs/ that has some words in it.
func blockOf(page, words string) (string, error) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		return "", err
	}
	var found []string
	for i, part := range strings.Split(string(content), "```") {
		if language, code, ok := strings.Cut(part, "\n"); ok && i%2 == 1 && language != "" && strings.Contains(code, words) {
			found = append(found, code)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d blocks of %s have %q in them", len(found), page, words)
	}
	return found[0], nil
}

// documented writes such a block to a file, so that a script runs what a reader pastes:
// documented PAGE WORDS FILE [OLD=NEW...]. What has to be filled in is replaced.
func documented(ts *testscript.TestScript, _ bool, args []string) {
	code, err := blockOf(args[0], args[1])
	ts.Check(err)
	for _, replacement := range args[3:] {
		old, filled, _ := strings.Cut(replacement, "=")
		if !strings.Contains(code, old) {
			ts.Fatalf("the block has no %s: %s", old, code)
		}
		code = strings.ReplaceAll(code, old, filled)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(code), 0o600))
}

// runJob runs what each pod of a Job of deploy/ would, one after the other, and wants its
// last one to end with a code, and the others with 0: job CODE FILE [ARGUMENT...].
func runJob(ts *testscript.TestScript, neg bool, args []string) {
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", args[1]))
	ts.Check(err)
	var job struct {
		Spec struct {
			Completions int
			Template    struct {
				Spec struct {
					Containers []struct {
						Args []string
						Env  []struct{ Name, Value string }
					}
				}
			}
		}
	}
	ts.Check(yaml.Unmarshal(content, &job))
	c := job.Spec.Template.Spec.Containers[0]
	for _, e := range c.Env {
		if e.Value != "" {
			before := ts.Getenv(e.Name)
			ts.Setenv(e.Name, e.Value)
			defer ts.Setenv(e.Name, before)
		}
	}
	for index := range job.Spec.Completions {
		ts.Setenv("JOB_COMPLETION_INDEX", strconv.Itoa(index))
		code := "0"
		if index == job.Spec.Completions-1 {
			code = args[0]
		}
		exits(ts, neg, append(append([]string{code, "nodestore-migrate"}, c.Args...), args[2:]...))
	}
	ts.Setenv("JOB_COMPLETION_INDEX", "")
}

// TestSelectorOfTheChart runs what docs/switch.md selects the deployments with that have
// to stop. A kubectl of the test's own says what the chart has, with an image of one's own.
func TestSelectorOfTheChart(t *testing.T) {
	t.Parallel()
	chart, err := os.ReadFile(filepath.Join("testdata", "chart-deployments.txt"))
	if err != nil {
		t.Fatal(err)
	}
	const image = "registry.example/ghcr.io/getsentry/sentry-opensearch:25.9.0"
	var listed, want strings.Builder
	for line := range strings.Lines(string(chart)) {
		words := strings.Fields(line)
		switch words[0] {
		case "stop":
			fmt.Fprintf(&listed, "sentry-%s\t2\tistio/proxyv2:1 %s\n", words[1], image)
			fmt.Fprintf(&want, "sentry-%s 2\n", words[1])
		case "keep":
			fmt.Fprintf(&listed, "sentry-%s\t1\t%s:25.9.0 %s-x\n", words[1], words[2], image)
		}
	}
	// The image of web is that of its first container.
	deployments := strings.Replace(listed.String(), "sentry-web\t2\tistio/proxyv2:1 "+image, "sentry-web\t2\t"+image+" istio/proxyv2:1", 1)
	code, err := blockOf("switch.md", "'$1 == \"sentry-web\"")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"kubectl": "#!/bin/sh\ncat chart\n", "chart": deployments} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	shell := exec.CommandContext(t.Context(), "sh", "-euc", code)
	shell.Dir, shell.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	output, err := shell.CombinedOutput()
	if err != nil || string(output) != want.String() {
		t.Errorf("%v: selected\n%swant\n%s", err, output, want.String())
	}
}
