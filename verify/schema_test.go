package verify_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nodestore-migrate/nodestore-migrate/verify/report"
)

// checkSchema fails unless a JSON report is as documented.
func checkSchema(t *testing.T, report []byte) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	documented, err := compiler.Compile("../docs/schema/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	if err := documented.Validate(value); err != nil {
		t.Errorf("%v", err)
	}
}

func TestReportForms(t *testing.T) {
	t.Parallel()
	r := sampleReport(30)
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
