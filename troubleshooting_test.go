package main

import (
	"go/ast"
	"go/constant"
	"go/types"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	gopackages "golang.org/x/tools/go/packages"
)

// refusals are what the tool refuses with, by its first words, with … for what differs.
// Values are where it is said.
type refusals struct {
	*gopackages.Package
	found map[string]string
}

// firstWords is how many words of a text have to be on the page.
const firstWords = 8

var formatVerb = regexp.MustCompile(`%[-+#0]*(\[\d\])?[\d.]*[a-zA-Z]`)

// add takes a text that says something by itself, and not a mere frame of another error.
func (r *refusals) add(at ast.Node, text string) {
	text = formatVerb.ReplaceAllString(strings.ReplaceAll(text, "%%", "\x00"), "…")
	words := strings.Fields(strings.Trim(strings.ReplaceAll(text, "\x00", "%"), ":; "))
	said := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return strings.Trim(word, "…:;,.()") == "" })
	if len(said) >= 2 {
		r.found[strings.Join(words[:min(len(words), firstWords)], " ")] = r.Fset.Position(at.Pos()).String()
	}
}

// text is the value of an expression, with … where it is not known before.
func (r *refusals) text(e ast.Expr) string {
	if value, ok := r.constant(e); ok {
		return value
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return r.text(e.X) + r.text(e.Y)
	case *ast.CallExpr:
		if r.calls(e, "fmt.Errorf", "fmt.Sprintf", "errors.New") {
			return r.text(e.Args[0])
		}
	}
	return "…"
}

func (r *refusals) constant(e ast.Expr) (string, bool) {
	if value := r.TypesInfo.Types[e].Value; value != nil && value.Kind() == constant.String {
		return constant.StringVal(value), true
	}
	return "", false
}

// calls reports whether a call is one of a function, or of a method of the package itself.
func (r *refusals) calls(e *ast.CallExpr, names ...string) bool {
	var name *ast.Ident
	switch called := e.Fun.(type) {
	case *ast.SelectorExpr:
		name = called.Sel
	case *ast.Ident:
		name = called
	default:
		return false
	}
	object, ok := r.TypesInfo.Uses[name].(*types.Func)
	return ok && object.Pkg() != nil && slices.Contains(names, object.Pkg().Name()+"."+object.Name())
}

func (r *refusals) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ValueSpec: // an error that only this package knows steers it, and is shown to nobody
		return len(n.Names) != 1 || n.Names[0].IsExported() || len(n.Values) != 1
	case *ast.FuncDecl:
		r.visitFunction(n)
	case *ast.CallExpr:
		r.visitCall(n)
	case *ast.CompositeLit:
		r.visitLiteral(n)
	}
	return true
}

// visitFunction takes what errors of a type of their own say, what is wrong with a
// mapping, and remedies that a function chooses.
func (r *refusals) visitFunction(f *ast.FuncDecl) {
	method := f.Recv != nil && (f.Name.Name == "Error" || f.Name.Name == "problem")
	if !method && !strings.HasSuffix(f.Name.Name, "Remedy") {
		return
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		text, ok := r.constant(e)
		r.add(e, text)
		return !ok
	})
}

// visitCall takes errors with a remedy, and those that wrap no other: these say
// themselves what is wrong.
func (r *refusals) visitCall(c *ast.CallExpr) {
	switch {
	case r.calls(c, "hint.Add"):
		if text := r.text(c.Args[0]); strings.Trim(text, "…%w: ") != "" {
			r.add(c, text)
		} else {
			r.add(c, r.text(c.Args[1])) // of an error from elsewhere only the remedy is known
		}
	case r.calls(c, "cluster.Mistaken"):
		r.add(c, r.text(c.Args[1]))
	case r.calls(c, "errors.New", "fmt.Errorf"):
		if text := r.text(c); !strings.Contains(text, "%w") {
			r.add(c, text)
		}
	case r.calls(c, "plan.warn", "plan.noGo", "plan.refuse", "plan.refuseUnlessHidden"):
		if name, ok := r.constant(c.Args[1]); ok {
			r.addCheck(c, name)
		}
	}
}

func (r *refusals) addCheck(at ast.Node, name string) {
	if name == "" {
		return
	}
	r.found["`"+strings.ReplaceAll(name, "_", " ")+"`"] = r.Fset.Position(at.Pos()).String()
}

// visitLiteral takes the remedies of tables: those of PostgreSQL's errors by their code,
// and those of mistakes about the target.
func (r *refusals) visitLiteral(l *ast.CompositeLit) {
	switch kind := types.TypeString(r.TypesInfo.TypeOf(l), func(p *types.Package) string { return p.Name() }); kind {
	case "source.rule":
		if len(l.Elts) != 4 {
			return
		}
		code, _ := r.constant(l.Elts[0])
		if remedy, _ := r.constant(l.Elts[3]); remedy != "" {
			r.found["`"+code+"`"] = r.Fset.Position(l.Pos()).String()
		}
	case "map[cluster.Mistake]string", "target.problem", "plan.Check":
		for _, element := range l.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				r.visitPair(kind, pair, l)
			}
		}
	}
}

func (r *refusals) visitPair(kind string, pair *ast.KeyValueExpr, of *ast.CompositeLit) {
	key := types.ExprString(pair.Key)
	switch {
	case strings.HasPrefix(kind, "map"), kind == "target.problem" && key == "text":
		r.add(pair, r.text(pair.Value))
	case kind == "plan.Check" && key == "Name":
		for _, other := range of.Elts {
			if state := other.(*ast.KeyValueExpr); types.ExprString(state.Key) == "State" && slices.Contains([]string{"NoGo", "Warning"}, types.ExprString(state.Value)) {
				name, _ := r.constant(pair.Value)
				r.addCheck(pair, name)
			}
		}
	}
}

// TestTroubleshootingIsComplete: docs/troubleshooting.md has every refusal by its first
// words, and none that is not in the code any more. Words about a value of a flag are left
// out: the command line names the flag and the form that it wants.
func TestTroubleshootingIsComplete(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	found := make(map[string]string)
	for _, p := range load(t, append(libraries(), "./internal/cli")...) {
		r := &refusals{p, found}
		for _, file := range p.Syntax {
			ast.Inspect(file, r.visit)
		}
	}
	maps.DeleteFunc(found, func(_, at string) bool {
		return regexp.MustCompile(`internal/cli/(values|reasons|config|demo)\.go|/node/\w+\.go`).MatchString(at)
	})
	if len(found) < 150 {
		t.Fatalf("only %d refusals were found in the code", len(found))
	}
	for _, text := range slices.Sorted(maps.Keys(found)) {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks\t%s\t%s", text, found[text])
		}
	}
	texts := slices.Collect(maps.Keys(found))
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`[^|]*)\\|(.*)").FindAllStringSubmatch(page, -1) {
		for entry := range strings.SplitSeq(row[1], "<br>") { // its own words, or the remedy of words from elsewhere
			known := func(text string) bool { return strings.Contains(entry, text) || strings.Contains(row[2], text) }
			if !slices.ContainsFunc(texts, known) {
				t.Errorf("the code does not say any more: %s", entry)
			}
		}
	}
}
