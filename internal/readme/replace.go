package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const endMarker = "<!-- end -->"

// blocks are the names of what is replaced.
func blocks() []string { return []string{"plan", "migrate", "status"} }

// marker is the line in front of a block.
func marker(name string) string {
	return "<!-- output of " + name + ": go run ./internal/readme -->"
}

// replace puts output, as a fenced block, between the marker of that name, which
// must stand there exactly once, and the next end.
func replace(document, name, output string) (string, error) {
	before, rest, found := strings.Cut(document, marker(name)+"\n")
	if !found || strings.Contains(rest, marker(name)) {
		return "", fmt.Errorf("the line %s has to be there once", marker(name))
	}
	inside, after, found := strings.Cut(rest, endMarker)
	if !found || strings.Contains(inside, "<!--") {
		return "", fmt.Errorf("no %s behind %s", endMarker, marker(name))
	}
	if strings.Contains(output, "```") || strings.Contains(output, "<!--") {
		return "", fmt.Errorf("the output of %s would end its block", name)
	}
	return before + marker(name) + "\n```text\n" + strings.Trim(output, "\n") + "\n```\n" + endMarker + after, nil
}

// randomPort is a port of the range that the kernel chooses from.
var randomPort = regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):[1-6]\d{4}\b`)

// machine are the words that say on which machine, or in which folder, a text
// was made.
func machine(dir string) ([]string, error) {
	words := []string{filepath.Base(dir), filepath.Clean(os.TempDir())}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	if host != "localhost" {
		words = append(words, host)
	}
	return words, nil
}

// fit refuses a text that has one of the words in it, or an address or a word
// that no text for a reader has.
func fit(text string, words []string) error {
	for _, word := range append([]string{"127.0.0.1"}, words...) {
		if strings.Contains(text, word) {
			return fmt.Errorf("the output has %q in it", word)
		}
	}
	if found := randomPort.FindString(text); found != "" {
		return fmt.Errorf("the output has %q in it", found)
	}
	if strings.Contains(strings.ToLower(text), "password") {
		return errors.New("the output speaks of a password")
	}
	return nil
}
