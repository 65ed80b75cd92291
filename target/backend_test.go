package target

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// defaults is the backend 1.2.0 without any configuration.
func defaults() Backend {
	return Backend{Alias: "sentry", Template: "sentry", Index: "sentry-{date}", Pattern: "sentry-*", Codec: "zstd", Shards: 3, Replicas: 1}
}

// setup is how a golden vector configures the backend.
type setup struct {
	Environment map[string]string `json:"environment"`
	Constructor struct {
		Index    string `json:"index"`
		Alias    string `json:"alias_name"`
		Template string `json:"template_name"`
	} `json:"constructor"`
}

func (s setup) backend() (Backend, error) {
	getenv := func(name string) string {
		return s.Environment[strings.TrimPrefix(name, "SENTRY_NODESTORE_OPENSEARCH_")]
	}
	return BackendFromEnv(getenv, Custom{Alias: s.Constructor.Alias, Template: s.Constructor.Template, Index: s.Constructor.Index})
}

// vectors reads the golden vectors of a file; testdata/README.md says who made them.
func vectors[T any](t *testing.T, file string) (list []T) {
	t.Helper()
	content, err := os.ReadFile("../testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatalf("%d vectors in %s, want 50 and more", len(list), file)
	}
	return list
}

func TestTemplatesAreTheBackends(t *testing.T) {
	t.Parallel()
	for _, v := range vectors[struct {
		setup
		Index    string
		Template string
		Body     any
		Error    string
	}](t, "templates.json") {
		b, err := v.backend()
		if v.Error != "" {
			if err == nil || hint.Of(err) == "" || b != (Backend{}) {
				t.Errorf("%+v: %+v, %v; the backend raises %s", v.setup, b, err, v.Error)
			}
			continue
		}
		text, jsonErr := json.Marshal(b.template())
		var body any
		if err := errors.Join(err, jsonErr, json.Unmarshal(text, &body)); err != nil {
			t.Fatalf("%+v: %v", v.setup, err)
		}
		if b.Index != v.Index || b.Template != v.Template || !reflect.DeepEqual(body, v.Body) {
			t.Errorf("%+v: index %s, template %s %s; the backend has %s, %s %v", v.setup, b.Index, b.Template, text, v.Index, v.Template, v.Body)
		}
	}
}

func TestBackendFromEnvRefuses(t *testing.T) {
	t.Parallel()
	for text, s := range map[string]setup{
		"NUMBER_OF_REPLICA must be an integer": {Environment: map[string]string{"NUMBER_OF_REPLICA": "1.5"}},
		"exactly one pattern":                  {Environment: map[string]string{"INDEX_PATTERN": "a-*,b-*"}},
	} {
		_, err := s.backend()
		wantRefusal(t, err, text, " ")
	}
	// The backend takes the first two: all nodes would go to one index.
	for _, index := range []string{"events", "{date}-{date}", "events-{prefix}-{date}", "{events-{date}"} {
		var s setup
		s.Constructor.Index = index
		_, err := s.backend()
		wantRefusal(t, err, "{date} once", string(NoDate))
	}
}

// TestIndicesAreTheBackends: a row's day, its index, and what the document says of it.
func TestIndicesAreTheBackends(t *testing.T) {
	t.Parallel()
	for _, v := range vectors[struct {
		setup
		Row       time.Time
		Micros    int64
		Timestamp string
		Index     string
	}](t, "indices.json") {
		b, err := v.backend()
		if err != nil {
			t.Fatal(err)
		}
		day := node.DayOf(v.Row.UnixMicro())
		if index := b.IndexOf(day); index != v.Index || v.Row.UnixMicro() != v.Micros {
			t.Errorf("%+v, %s: index %s, want %s; %d µs, want %d", v.setup, v.Row, index, v.Index, v.Row.UnixMicro(), v.Micros)
		}
		if back, ok := b.DayOf(v.Index); !ok || back != day {
			t.Errorf("%+v: %s is day %s, %v, want %s", v.setup, v.Index, back, ok, day)
		}
		if text := string(node.AppendTimestamp(nil, v.Micros)); text != v.Timestamp {
			t.Errorf("%d: %s, want %s", v.Micros, text, v.Timestamp)
		}
	}
}

func TestDayOfOtherIndices(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"sentry-{date}", "sentry-prod-{date}", "{date}", "a-{date}-b"} {
		b := Backend{Index: rule}
		index := b.IndexOf(node.DayOf(1709164800000000)) // 2024-02-29
		for _, other := range []string{"", "-", "x" + index, index + "x", strings.Replace(index, "29", "30", 1), strings.Replace(index, "2024", "24", 1)} {
			if day, ok := b.DayOf(other); ok {
				t.Errorf("%s: %q is day %s", rule, other, day)
			}
		}
	}
}
