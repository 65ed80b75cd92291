package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaFolder is absolute: scripts have a folder of their own.
var schemaFolder, _ = filepath.Abs("../../docs/schema")

// schemaName is the file that describes an object that a verb prints.
func schemaName(verb, kind string) string {
	switch kind {
	case "event", "progress", "state", "summary":
		if verb == "demo" {
			verb = "migrate"
		}
		kind = verb + "-" + kind
	}
	return strings.ReplaceAll(kind, "_", "-") + ".schema.json"
}

// conforms says what of an object is not as documented, and returns its type.
func conforms(verb string, object []byte) (kind string, err error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(object))
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, object)
	}
	fields, _ := value.(map[string]any)
	kind, _ = fields["type"].(string)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(filepath.Join(schemaFolder, schemaName(verb, kind)))
	if err != nil {
		return kind, err
	}
	if err := schema.Validate(value); err != nil {
		return kind, fmt.Errorf("%w: %s", err, object)
	}
	return kind, nil
}

// checkOutput checks the standard output of a run with --json: each line is an object
// as documented, and the last one is the run's result, or the error with its exit code.
func checkOutput(verb, out string, code int) error {
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	results := 0
	var last string
	for _, line := range lines {
		kind, err := conforms(verb, []byte(line))
		if err != nil {
			return err
		}
		if last = kind; kind == "summary" {
			results++
		}
	}
	if code == 0 || code == 3 || code == 4 {
		idle := last == "event" && strings.Contains(lines[len(lines)-1], `"event":"shard"`) // a shard that was done before
		if !slices.Contains([]string{"summary", "rehearsal", "plan", "status"}, last) && !idle || results > 1 {
			return fmt.Errorf("exit code %d, and the last line is of type %q: %s", code, last, out)
		}
		return nil
	}
	var failed struct {
		Type string
		Code int `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &failed); err != nil || failed.Type != "error" || failed.Code != code {
		return fmt.Errorf("exit code %d, and the last line is %s", code, lines[len(lines)-1])
	}
	return nil
}

// checkFile checks a file with objects: objects VERB FILE CODE for the standard output of
// a run that ended with CODE, objects VERB FILE for a report, or for the objects in the
// standard error of a run.
func checkFile(ts *testscript.TestScript, _ bool, args []string) {
	content := ts.ReadFile(args[1])
	if len(args) == 3 {
		code, err := strconv.Atoi(args[2])
		ts.Check(err)
		ts.Check(checkOutput(args[0], content, code))
		return
	}
	objects := []string{content}
	if !json.Valid([]byte(content)) {
		objects = slices.DeleteFunc(strings.Split(content, "\n"), func(line string) bool { return !strings.HasPrefix(line, `{"type":`) })
	}
	if len(objects) == 0 {
		ts.Fatalf("no object in %s", args[1])
	}
	for _, object := range objects {
		_, err := conforms(args[0], []byte(object))
		ts.Check(err)
	}
}
