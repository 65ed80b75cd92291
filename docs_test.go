package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuaranteesNameTests makes sure that docs/guarantees.md names tests that exist.
func TestGuaranteesNameTests(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command("git", "grep", "-hoE", `^func Test\w+`, "--", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for line := range strings.Lines(string(list)) {
		there[strings.TrimSpace(strings.TrimPrefix(line, "func "))] = true
	}
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(page), -1) {
		if !there[name] {
			t.Errorf("docs/guarantees.md names %s, which is not a test", name)
		}
	}
}

// TestDocsHoldTogether: what a page links to is there, and its JSON is JSON.
func TestDocsHoldTogether(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		text := read(t, page)
		for _, link := range regexp.MustCompile(`\]\(([^):]*?)(#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			file := filepath.Join(filepath.Dir(page), link[1])
			if link[1] == "" {
				file = page
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", page, file, err)
				continue
			}
			if link[2] != "" && !slices.Contains(anchors(read(t, file)), link[2]) {
				t.Errorf("%s links to %s%s, which is not there", page, file, link[2])
			}
		}
		for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1) {
			if !json.Valid([]byte(block[1])) {
				t.Errorf("%s: this is not JSON: %s", page, block[1])
			}
		}
	}
}

// anchors are what the headings of a page can be linked by.
func anchors(text string) (list []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\d _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		list = append(list, "#"+strings.ReplaceAll(name, " ", "-"))
	}
	return list
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
