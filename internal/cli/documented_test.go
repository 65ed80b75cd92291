package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
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
