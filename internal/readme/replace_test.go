package main

import (
	"os"
	"strings"
	"testing"
)

// The README has each block once, with the output of its verb, as the program
// would write it again.
func TestReadmeHasTheBlocks(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(content)
	for _, name := range blocks() {
		_, rest, _ := strings.Cut(readme, marker(name)+"\n```text\n")
		output, _, _ := strings.Cut(rest, "\n```\n"+endMarker)
		first, _, _ := strings.Cut(output, "\n")
		if !strings.HasPrefix(first, "$ nodestore-migrate "+name) || strings.Count(output, "\n") < 10 {
			t.Errorf("the block %s is not the output of its verb: %s", name, output)
		}
		if err := fit(output, []string{"/tmp", "/home", "/root", "nodestore-opensearch-"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := replace(readme, name, output); err != nil || again != readme {
			t.Errorf("%s would not be written as it is: %v", name, err)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	plan, status := marker("plan")+"\n", marker("status")+"\n"
	for _, test := range []struct {
		name, document, output string
		want                   string // "" is an error
	}{
		{"empty block", "a\n" + plan + endMarker + "\nb\n", "$ x\ny\n", "a\n" + plan + "```text\n$ x\ny\n```\n" + endMarker + "\nb\n"},
		{"old block", plan + "```text\nold\n```\n" + endMarker, "new", plan + "```text\nnew\n```\n" + endMarker},
		{
			"others stay", status + "s\n" + endMarker + "\n" + plan + endMarker, "p",
			status + "s\n" + endMarker + "\n" + plan + "```text\np\n```\n" + endMarker,
		},
		{"no marker", "a\n" + endMarker, "p", ""},
		{"marker twice", plan + endMarker + "\n" + plan + endMarker, "p", ""},
		{"no end", plan + "a\n", "p", ""},
		{"end of another block", plan + "a\n" + status + endMarker, "p", ""},
		{"output with a fence", plan + endMarker, "```\n", ""},
		{"output with a comment", plan + endMarker, endMarker, ""},
	} {
		got, err := replace(test.document, "plan", test.output)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	words := []string{"/tmp/x", "builder7"}
	if err := fit("$ nodestore-migrate status --target http://localhost:9200\n60,000 nodes", words); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"saved in /tmp/x123", "on builder7", "http://127.0.0.1:1", "http://localhost:40123", "Password=x"} {
		if fit(text, words) == nil {
			t.Errorf("%q is let through", text)
		}
	}
}
