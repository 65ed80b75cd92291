//go:build !nodemo

package cli

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

const schemaDir = "../../docs/schema/"

// documented are the types of what is printed, by the name of their schema.
func documented() map[string]reflect.Type {
	return map[string]reflect.Type{
		"error":            reflect.TypeFor[failure](),
		"plan":             reflect.TypeFor[planObject](),
		"status":           reflect.TypeFor[status](),
		"migrate-summary":  reflect.TypeFor[result](),
		"verify-summary":   reflect.TypeFor[verifySummary](),
		"report":           reflect.TypeFor[verify.Report](),
		"migrate-event":    reflect.TypeFor[migrateEvent](),
		"verify-event":     reflect.TypeFor[verifyEvent](),
		"migrate-progress": reflect.TypeFor[migrateProgress](),
		"verify-progress":  reflect.TypeFor[verifyProgress](),
		"migrate-state":    reflect.TypeFor[migrateState](),
		"verify-state":     reflect.TypeFor[verifyState](),
		"read-back":        reflect.TypeFor[readBack](),
		"rehearsal":        reflect.TypeFor[rehearsalObject](),
	}
}

// jsonSchema is what these tests look at of a schema.
type jsonSchema struct {
	Ref         string                `json:"$ref"`
	Type        string                `json:"type"`
	Const       any                   `json:"const"`
	Enum        []string              `json:"enum"`
	AnyOf       []*jsonSchema         `json:"anyOf"`
	Format      string                `json:"format"`
	Description string                `json:"description"`
	Properties  map[string]jsonSchema `json:"properties"`
	Required    []string              `json:"required"`
	Items       *jsonSchema           `json:"items"`
	Additional  *jsonSchema           `json:"additionalProperties"`
	Defs        map[string]jsonSchema `json:"$defs"`
}

func readSchema(t *testing.T, name string) (s jsonSchema) {
	t.Helper()
	content, err := os.ReadFile(schemaDir + name + ".schema.json")
	if err == nil {
		err = json.Unmarshal(content, &s) // false for additionalProperties, which would forbid additions, is an error
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// against compares a schema with the types that are printed, in both directions.
type against struct {
	*testing.T
	root jsonSchema
}

func (a against) compare(path string, s jsonSchema, kind reflect.Type) {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		a.compare(path, a.root.Defs[name], kind)
		return
	}
	if s.Description == "" {
		a.Errorf("%s is not described", path)
	}
	switch want := typeOf(kind); {
	case s.Const != nil:
	case len(s.Enum) > 0, len(s.AnyOf) > 0:
		if want != "string" {
			a.Errorf("%s is words in the schema, and %s", path, kind)
		}
	case s.Type != want:
		a.Errorf("%s is of type %q in the schema, and %s", path, s.Type, kind)
	case kind == reflect.TypeFor[time.Time]():
		if s.Format != "date-time" {
			a.Errorf("%s has no format", path)
		}
	case kind == reflect.TypeFor[node.Sum]():
	case kind == reflect.TypeFor[node.Fates]():
		a.compareFates(path, s)
	case kind.Kind() == reflect.Struct:
		a.compareFields(path, s, kind)
	case want == "array":
		a.compare(path+"[]", *s.Items, kind.Elem())
	case kind.Kind() == reflect.Map:
		a.compare(path+"{}", *s.Additional, kind.Elem())
	case kind.Kind() == reflect.Pointer:
		a.compare(path, s, kind.Elem())
	}
}

func typeOf(kind reflect.Type) string {
	if kind == reflect.TypeFor[time.Time]() || kind == reflect.TypeFor[node.Sum]() {
		return "string"
	}
	if kind == reflect.TypeFor[node.Fates]() {
		return "object"
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return typeOf(kind.Elem())
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "integer"
}

func (a against) compareFates(path string, s jsonSchema) {
	var counts map[string]int64
	encoded, err := json.Marshal(node.Fates{})
	if err == nil {
		err = json.Unmarshal(encoded, &counts)
	}
	if err != nil {
		a.Fatal(err)
	}
	a.sameNames(path, slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(counts)))
	a.sameNames(path+", required", slices.Sorted(slices.Values(s.Required)), slices.Sorted(maps.Keys(counts)))
}

func (a against) sameNames(path string, inSchema, printed []string) {
	if !slices.Equal(inSchema, printed) {
		a.Errorf("%s: in the schema %q, printed %q", path, inSchema, printed)
	}
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// oddUnit is in names of quantities that have another unit than all others.
var oddUnit = regexp.MustCompile(`_(ns|us|ms|millis|micros|minutes|kb|gb|kib|mib|estimated|left)$`)

func (a against) compareFields(path string, s jsonSchema, kind reflect.Type) {
	var names, required []string
	for _, f := range fieldsOf(kind) {
		names = append(names, f.name)
		if !f.optional {
			required = append(required, f.name)
		}
		if !snakeCase.MatchString(f.name) || oddUnit.MatchString(f.name) {
			a.Errorf("%s.%s is no name as the others", path, f.name)
		}
		if property, ok := s.Properties[f.name]; ok {
			a.compare(path+"."+f.name, property, f.kind)
		}
	}
	slices.Sort(names)
	slices.Sort(required)
	a.sameNames(path, slices.Sorted(maps.Keys(s.Properties)), names)
	a.sameNames(path+", required", slices.Sorted(slices.Values(s.Required)), required)
}

type printed struct {
	name     string
	optional bool
	kind     reflect.Type
}

// fieldsOf are the fields that encoding/json writes.
func fieldsOf(kind reflect.Type) (fields []printed) {
	for f := range kind.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			fields = append(fields, fieldsOf(f.Type)...)
		case f.IsExported() && strings.Contains(options, "string"):
			fields = append(fields, printed{name, false, reflect.TypeFor[string]()})
		case f.IsExported():
			fields = append(fields, printed{name, strings.Contains(options, "omit"), f.Type})
		}
	}
	return fields
}

// Each schema names what is printed and nothing else, allows additions, and is one
// itself; docs/json.md names it.
func TestSchemasAreOfWhatIsPrinted(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(os.DirFS(schemaDir), "*")
	if err != nil || len(files) != len(documented()) {
		t.Errorf("%d types, and the schemas %q, %v", len(documented()), files, err)
	}
	for name, kind := range documented() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := readSchema(t, name)
			if _, err := jsonschema.NewCompiler().Compile(schemaDir + name + ".schema.json"); err != nil {
				t.Error(err)
			}
			against{t, root}.compare(name, root, kind)
			if root.Properties["schema"].Const != float64(objectSchema) {
				t.Errorf("schema is %v", root.Properties["schema"].Const)
			}
			if !strings.Contains(string(page), "](schema/"+name+".schema.json)") {
				t.Error("docs/json.md does not name it")
			}
		})
	}
}

// Words that a program may meet are those of the code.
func TestSchemasKnowTheWords(t *testing.T) {
	t.Parallel()
	of := func(name string) jsonSchema { return readSchema(t, name) }
	plan, status, report := of("plan"), of("status"), of("report")
	check, silo := plan.Properties["checks"].Items.Properties, plan.Properties["silo"].Properties
	kinds := slices.Concat(constants(t, "migrate", "Kind", ""), constants(t, "internal/cli", "migrate.Kind", ""))
	for _, test := range []struct {
		what   string
		schema jsonSchema
		words  []string
	}{
		{"events of migrate", of("migrate-event").Properties["event"], kinds},
		{"events of verify", of("verify-event").Properties["event"], constants(t, "verify", "Kind", "")},
		{"the last event of verify", of("verify-state").Properties["last_event"].Properties["event"], constants(t, "verify", "Kind", "")},
		{"levels", report.Properties["level"], constants(t, "verify", "Level", "")},
		{"levels of the summary", of("verify-summary").Properties["level"], constants(t, "verify", "Level", "")},
		{"classes", report.Defs["finding"].Properties["class"], constants(t, "verify", "Class", "")},
		{"classes of the summary", of("verify-summary").Defs["finding"].Properties["class"], constants(t, "verify", "Class", "")},
		{"methods", report.Defs["bound"].Properties["method"], constants(t, "verify", "Method", "")},
		{"methods of the summary", of("verify-summary").Defs["bound"].Properties["method"], constants(t, "verify", "Method", "")},
		{"states of checks", check["state"], constants(t, "plan", "State", "")},
		{"sides", check["side"], constants(t, "plan", "Side", "")},
		{"fates of days", plan.Properties["days"].Items.Properties["fate"], constants(t, "plan", "", "Day")},
		{"silos", silo["kind"], constants(t, "source", "SiloKind", "")},
		{"evidence", *silo["tables"].Additional, constants(t, "source", "Evidence", "")},
		{"states of days", status.Properties["days"].Items.Properties["state"], constants(t, "internal/cli", "", "day")},
	} {
		known := test.schema.Enum
		if len(test.schema.AnyOf) > 0 {
			known = test.schema.AnyOf[0].Enum
		}
		if !slices.Equal(slices.Sorted(slices.Values(known)), slices.Sorted(slices.Values(test.words))) {
			t.Errorf("%s: in the schema %q, in the code %q", test.what, known, test.words)
		}
	}
}

// constants are the texts of a package's constants of a type, or of those without one
// whose names begin with a prefix.
func constants(t *testing.T, folder, kind, prefix string) (texts []string) {
	t.Helper()
	files, err := filepath.Glob("../../" + folder + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) == 0 || typeName(spec.Type) != kind || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			}
			return true
		})
	}
	return texts
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	}
	return ""
}
