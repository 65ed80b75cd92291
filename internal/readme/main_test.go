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
	for _, name := range []string{"plan", "migrate", "status"} {
		_, rest, _ := strings.Cut(readme, "<!-- output of "+name+": go run ./internal/readme -->\n```text\n")
		output, _, _ := strings.Cut(rest, "\n```\n<!-- end -->")
		first, _, _ := strings.Cut(output, "\n")
		if !strings.HasPrefix(first, "$ nodestore-migrate "+name) || strings.Count(output, "\n") < 10 {
			t.Errorf("the block %s is not the output of its verb: %s", name, output)
		}
		if err := fit(output, "/tmp", "/home", "/root", "nodestore-opensearch-"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := replace(readme, name, output); err != nil || again != readme {
			t.Errorf("%s would not be written as it is: %v", name, err)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	const plan, status, end = "<!-- output of plan: go run ./internal/readme -->\n", "<!-- output of status: go run ./internal/readme -->\n", "<!-- end -->"
	for document, want := range map[string]string{
		"a\n" + plan + end + "\nb\n":                     "a\n" + plan + "```text\np\n```\n" + end + "\nb\n",
		status + "s\n" + end + "\n" + plan + "o\n" + end: status + "s\n" + end + "\n" + plan + "```text\np\n```\n" + end,
		"a\n" + end:                        "", // no marker
		plan + end + "\n" + plan + end:     "", // the marker twice
		plan + "a\n":                       "", // no end
		plan + "a\n" + status + "\n" + end: "", // the end of another block
	} {
		got, err := replace(document, "plan", "p\n")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", document, got, err, want)
		}
	}
}

func TestScreen(t *testing.T) {
	t.Parallel()
	const text = "\x1b[31mred\x1b[0m  \r\n\r5 MB  50% |██  |\r          \rday 2: sealed\r\n\r\x1b[2Kread 2\r\n"
	if got, want := screen(text), "red\nday 2: sealed\nread 2\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if found := bars.FindStringSubmatch(text); found == nil || found[1] != "5 MB  50% |██  |" || found[2] != "50" {
		t.Errorf("the bar is %q", found)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	if err := fit("$ nodestore-migrate status --target http://localhost:9200\n60,000 nodes", "/tmp/x", "builder7"); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"saved in /tmp/x123", "on builder7", "http://127.0.0.1:1", "http://localhost:40123", "Password=x", "```\n", "<!-- end -->"} {
		if fit(text, "/tmp/x", "builder7") == nil {
			t.Errorf("%q is let through", text)
		}
	}
}
