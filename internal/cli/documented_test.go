package cli_test

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// documented takes from a page of docs/ the one block of code that has some words in it,
// and writes it to a file, so that a script runs what a reader pastes:
// documented PAGE WORDS FILE [OLD=NEW...]. What has to be filled in is replaced.
func documented(ts *testscript.TestScript, _ bool, args []string) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", args[0]))
	ts.Check(err)
	var found []string
	for i, part := range strings.Split(string(page), "```") {
		if language, code, ok := strings.Cut(part, "\n"); ok && i%2 == 1 && language != "" && strings.Contains(code, args[1]) {
			found = append(found, code)
		}
	}
	if len(found) != 1 {
		ts.Fatalf("%d blocks of %s have %q in them", len(found), args[0], args[1])
	}
	code := found[0]
	for _, replacement := range args[3:] {
		old, filled, _ := strings.Cut(replacement, "=")
		if !strings.Contains(code, old) {
			ts.Fatalf("the block has no %s: %s", old, code)
		}
		code = strings.ReplaceAll(code, old, filled)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(code), 0o600))
}
