package target

import (
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// defaults is the backend 1.2.0 without any configuration.
func defaults() Backend {
	return Backend{Alias: "sentry", Template: "sentry", Index: "sentry-{date}", Pattern: "sentry-*", Codec: "zstd", Shards: 3, Replicas: 1}
}

func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[strings.TrimPrefix(name, "SENTRY_NODESTORE_OPENSEARCH_")] }
}

func TestBackendFromEnv(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env    map[string]string
		custom Custom
		change func(*Backend)
	}{
		"nothing set":          {nil, Custom{}, func(*Backend) {}},
		"blank is not set":     {map[string]string{"NUMBER_OF_SHARDS": " ", "INDEX_PATTERN": "\t", "INDEX_CODEC": " ", "INDEX_PREFIX": " "}, Custom{}, func(*Backend) {}},
		"numbers":              {map[string]string{"NUMBER_OF_SHARDS": " 12 ", "NUMBER_OF_REPLICA": "0"}, Custom{}, func(b *Backend) { b.Shards, b.Replicas = 12, 0 }},
		"signed number":        {map[string]string{"NUMBER_OF_SHARDS": "+2"}, Custom{}, func(b *Backend) { b.Shards = 2 }},
		"codec":                {map[string]string{"INDEX_CODEC": " best_compression\n"}, Custom{}, func(b *Backend) { b.Codec = "best_compression" }},
		"prefix":               {map[string]string{"INDEX_PREFIX": " prod "}, Custom{}, func(b *Backend) { b.Prefix, b.Index = "prod", "sentry-prod-{date}" }},
		"plain pattern":        {map[string]string{"INDEX_PATTERN": " events-* "}, Custom{}, func(b *Backend) { b.Pattern = "events-*" }},
		"pattern without star": {map[string]string{"INDEX_PATTERN": "events"}, Custom{}, func(b *Backend) { b.Pattern = "events" }},
		"array of one":         {map[string]string{"INDEX_PATTERN": ` [ " events-* " ] `}, Custom{}, func(b *Backend) { b.Pattern = "events-*" }},
		"array with a comma":   {map[string]string{"INDEX_PATTERN": `["a,b"]`}, Custom{}, func(b *Backend) { b.Pattern = "a,b" }},
		"list of one":          {map[string]string{"INDEX_PATTERN": ", events-* ,,"}, Custom{}, func(b *Backend) { b.Pattern = "events-*" }},
		"list splits at commas only": {
			map[string]string{"INDEX_PATTERN": "events a,"},
			Custom{},
			func(b *Backend) { b.Pattern = "events a" },
		},
		"constructor's own default": {map[string]string{"INDEX_PREFIX": "prod"}, Custom{Index: "sentry-{prefix}-{date}"}, func(b *Backend) { b.Prefix, b.Index = "prod", "sentry-prod-{date}" }},
		"custom names":              {nil, Custom{Alias: "a", Template: "t", Index: "{date}.x"}, func(b *Backend) { b.Alias, b.Template, b.Index = "a", "t", "{date}.x" }},
		"custom index ignores the prefix": {
			map[string]string{"INDEX_PREFIX": "prod"},
			Custom{Index: "events-{date}"},
			func(b *Backend) { b.Prefix, b.Index = "prod", "events-{date}" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			test.change(&want)
			got, err := BackendFromEnv(environment(test.env), test.custom)
			if err != nil || got != want {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestBackendFromEnvRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env    map[string]string
		custom Custom
		text   string
	}{
		"word as shards":    {map[string]string{"NUMBER_OF_SHARDS": "three"}, Custom{}, "NUMBER_OF_SHARDS must be an integer"},
		"fraction":          {map[string]string{"NUMBER_OF_REPLICA": "1.5"}, Custom{}, "NUMBER_OF_REPLICA must be an integer"},
		"two patterns":      {map[string]string{"INDEX_PATTERN": "a-*,b-*"}, Custom{}, "exactly one pattern"},
		"only commas":       {map[string]string{"INDEX_PATTERN": " , ,"}, Custom{}, "exactly one pattern"},
		"array of two":      {map[string]string{"INDEX_PATTERN": `["a-*","b-*"]`}, Custom{}, "exactly one pattern"},
		"empty array":       {map[string]string{"INDEX_PATTERN": "[]"}, Custom{}, "exactly one pattern"},
		"array of nothing":  {map[string]string{"INDEX_PATTERN": `[" "]`}, Custom{}, "exactly one pattern"},
		"broken array":      {map[string]string{"INDEX_PATTERN": `["a-*"`}, Custom{}, "exactly one pattern"},
		"index of all days": {nil, Custom{Index: "events"}, "{date} once"},
		"two dates":         {nil, Custom{Index: "{date}-{date}"}, "{date} once"},
		"unknown field":     {nil, Custom{Index: "events-{prefix}-{date}"}, "{date} once"},
		"open brace":        {nil, Custom{Index: "{events-{date}"}, "{date} once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := BackendFromEnv(environment(test.env), test.custom)
			wantRefusal(t, err, test.text, " ")
			if got != (Backend{}) {
				t.Errorf("%+v beside an error", got)
			}
		})
	}
}

func TestIndexOfAndDayOf(t *testing.T) {
	t.Parallel()
	leap, err := node.ParseDay("2024-02-29")
	if err != nil {
		t.Fatal(err)
	}
	for rule, index := range map[string]string{
		"sentry-{date}":      "sentry-2024-02-29",
		"sentry-prod-{date}": "sentry-prod-2024-02-29",
		"{date}":             "2024-02-29",
		"a-{date}-b":         "a-2024-02-29-b",
	} {
		b := Backend{Index: rule}
		if got := b.IndexOf(leap); got != index {
			t.Errorf("%s: index %s, want %s", rule, got, index)
		}
		if day, ok := b.DayOf(index); !ok || day != leap {
			t.Errorf("%s: %s is day %s, %v", rule, index, day, ok)
		}
		for _, other := range []string{"", "-", "x" + index, index + "x", strings.Replace(index, "29", "30", 1), strings.Replace(index, "2024", "24", 1)} {
			if day, ok := b.DayOf(other); ok {
				t.Errorf("%s: %q is day %s", rule, other, day)
			}
		}
	}
}
