package verify_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/verify/report"
)

// schema is the part of JSON Schema that docs/report.schema.json uses.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Const      any               `json:"const"`
	Enum       []any             `json:"enum"`
	Items      *schema           `json:"items"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Additional json.RawMessage   `json:"additionalProperties"`
	Defs       map[string]schema `json:"$defs"`
}

// check returns what of a value is not as the schema says.
func (s schema) check(root schema, path string, value any) (problems []string) {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return root.Defs[name].check(root, path, value)
	}
	if s.Const != nil && s.Const != value || s.Enum != nil && !slices.Contains(s.Enum, value) {
		problems = append(problems, fmt.Sprintf("%s is %v", path, value))
	}
	if s.Type != nil && !s.allows(typeOf(value)) {
		problems = append(problems, fmt.Sprintf("%s is of type %s", path, typeOf(value)))
	}
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			problems = append(problems, s.Items.check(root, fmt.Sprintf("%s[%d]", path, i), item)...)
		}
	case map[string]any:
		problems = append(problems, s.checkObject(root, path, v)...)
	}
	return problems
}

func (s schema) checkObject(root schema, path string, object map[string]any) (problems []string) {
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			problems = append(problems, path+"."+name+" is missing")
		}
	}
	for name, value := range object {
		property, known := s.Properties[name]
		if !known {
			if json.Unmarshal(s.Additional, &property) != nil {
				problems = append(problems, path+"."+name+" is not in the schema")
				continue
			}
		}
		problems = append(problems, property.check(root, path+"."+name, value)...)
	}
	return problems
}

func (s schema) allows(kind string) bool {
	list, ok := s.Type.([]any)
	if !ok {
		list = []any{s.Type}
	}
	return slices.Contains(list, any(kind)) || kind == "integer" && slices.Contains(list, any("number"))
}

func typeOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// checkSchema fails unless a JSON report is as documented.
func checkSchema(t *testing.T, report []byte) {
	t.Helper()
	documented, err := os.ReadFile("../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(documented, &root); err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(report, &value); err != nil {
		t.Fatal(err)
	}
	for _, problem := range root.check(root, "report", value) {
		t.Error(problem)
	}
}

func TestReportForms(t *testing.T) {
	t.Parallel()
	r := sampleReport()
	r.Repairs = map[string]int64{"nodes_copied_again": 1}
	dir := t.TempDir()
	contents := make(map[string]string)
	for _, form := range report.Forms() {
		path := filepath.Join(dir, "report"+form)
		if err := report.Write(r, path); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents[form] = string(content)
	}
	checkSchema(t, []byte(contents[".json"]))
	for form, content := range contents {
		if form != ".json" && strings.Contains(content, "<script") {
			t.Errorf("%s holds a script", form)
		}
		if !strings.Contains(content, "198,412,003") {
			t.Errorf("%s does not hold the verdict", form)
		}
	}
	if err := report.Write(r, filepath.Join(dir, "report.pdf")); err == nil {
		t.Error("a form that is not known is not an error")
	}
}
