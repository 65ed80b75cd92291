package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gopackages "golang.org/x/tools/go/packages"
)

// libraries are the packages that know no command line, and whose files are
// rooms: what is in one calls only what is in others below it.
func libraries() []string {
	return []string{"./node", "./source", "./target/...", "./checkpoint/...", "./migrate", "./verify/...", "./plan", "./governor"}
}

func load(t *testing.T, patterns ...string) []*gopackages.Package {
	t.Helper()
	mode := gopackages.NeedName | gopackages.NeedFiles | gopackages.NeedSyntax | gopackages.NeedTypes |
		gopackages.NeedTypesInfo | gopackages.NeedImports | gopackages.NeedDeps
	loaded, err := gopackages.Load(&gopackages.Config{Mode: mode}, patterns...)
	if err != nil || gopackages.PrintErrors(loaded) > 0 || len(loaded) == 0 {
		t.Fatalf("load %q: %d packages, %v", patterns, len(loaded), err)
	}
	return loaded
}

// TestCallsBetweenFilesRunOneWay: within a package, no file calls another one
// that calls it, be it by way of a third.
func TestCallsBetweenFilesRunOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range load(t, append(libraries(), "./internal/cli")...) {
		file := func(at token.Pos) string { return filepath.Base(p.Fset.Position(at).Filename) }
		calls := make(map[string][]string)
		for use, object := range p.TypesInfo.Uses {
			function, ok := object.(*types.Func)
			if !ok || function.Pkg() != p.Types {
				continue
			}
			if from, to := file(use.Pos()), file(function.Pos()); from != to && !slices.Contains(calls[from], to) {
				calls[from] = append(calls[from], to)
			}
		}
		for from := range calls {
			if way := wayBack(calls, from, from, make(map[string]bool)); way != nil {
				t.Errorf("%s: calls run in a circle: %s", p.PkgPath, strings.Join(way, " -> "))
			}
		}
	}
}

// wayBack follows calls from a file until they come to one, or returns nil.
func wayBack(calls map[string][]string, from, to string, seen map[string]bool) []string {
	for _, next := range calls[from] {
		if next == to {
			return []string{from, next}
		}
		if seen[next] {
			continue
		}
		seen[next] = true
		if way := wayBack(calls, next, to, seen); way != nil {
			return append([]string{from}, way...)
		}
	}
	return nil
}

// TestLibrariesNameNoFlag: which flag helps is for the command line to say.
func TestLibrariesNameNoFlag(t *testing.T) {
	t.Parallel()
	flag := regexp.MustCompile(`(^|[^-\w])--[a-z][a-z-]*[a-z]($|[^-\w])`)
	for _, p := range load(t, libraries()...) {
		for _, file := range p.Syntax {
			ast.Inspect(file, func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && flag.MatchString(strings.ReplaceAll(text.Value, "var(--", "")) {
					t.Errorf("%s names a flag: %s", p.Fset.Position(text.Pos()), text.Value)
				}
				return true
			})
		}
	}
}
