package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list -json` says of a package: without its tests, which may
// import what they like.
type pkg struct {
	ImportPath string
	Name       string
	Imports    []string
}

const ours = "github.com/nodestore-migrate/nodestore-migrate"

// onlyCLI is what no package but internal/cli knows: a terminal, and flags.
// Programs that are not shipped have the standard library's flags.
var onlyCLI = []string{"flag", "github.com/alecthomas/kong", "github.com/schollz/progressbar/v3", "golang.org/x/term"}

func packages(t *testing.T) (all []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, ours), "/")
		all = append(all, p)
	}
}

// allowed is the table of ARCHITECTURE.md: for each package which others of
// ours it imports.
func allowed(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| package | what it is | imports of ours |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	names := regexp.MustCompile("`([^`]+)`")
	rules := make(map[string][]string)
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 {
			t.Fatalf("ARCHITECTURE.md: a row of the table of packages has not three cells: %s", row)
		}
		imports := []string{}
		for _, name := range names.FindAllStringSubmatch(cells[3], -1) {
			imports = append(imports, name[1])
		}
		for _, name := range names.FindAllStringSubmatch(cells[1], -1) {
			rules[name[1]] = imports
		}
	}
	return rules
}

// TestImportsAreThoseOfTheArchitecture holds ARCHITECTURE.md's table of packages
// against what the packages import, both ways.
func TestImportsAreThoseOfTheArchitecture(t *testing.T) {
	t.Parallel()
	rules := allowed(t)
	for _, p := range packages(t) {
		if p.ImportPath == "" {
			p.ImportPath = "main.go"
		}
		rule, ok := rules[p.ImportPath]
		if !ok {
			t.Errorf("ARCHITECTURE.md has no row for %s", p.ImportPath)
		}
		delete(rules, p.ImportPath)
		var imports []string
		for _, path := range p.Imports {
			if name, ok := strings.CutPrefix(path, ours+"/"); ok {
				imports = append(imports, name)
			}
			if slices.Contains(onlyCLI, path) && p.ImportPath != "internal/cli" && (path != "flag" || p.Name != "main") {
				t.Errorf("%s imports %s, which only internal/cli may", p.ImportPath, path)
			}
		}
		slices.Sort(rule)
		if !slices.Equal(imports, rule) {
			t.Errorf("%s imports %q, ARCHITECTURE.md says %q", p.ImportPath, imports, rule)
		}
	}
	for name := range rules {
		t.Errorf("ARCHITECTURE.md has a row for %s, which is not a package", name)
	}
}

// TestMigrateAndVerifyDoNotKnowEachOther: nor by way of a third.
func TestMigrateAndVerifyDoNotKnowEachOther(t *testing.T) {
	t.Parallel()
	for one, other := range map[string]string{"migrate": "verify", "verify": "migrate"} {
		out, err := exec.Command("go", "list", "-deps", "./"+one).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, ours+"/"+one) || slices.Contains(deps, ours+"/"+other) {
			t.Errorf("%s depends on %s", one, other)
		}
	}
}
