package target

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// datePlaceholder is what the backend replaces by a day in an index name.
const datePlaceholder = "{date}"

// Backend is how sentry-opensearch-nodestore is configured: what its
// constructor and its environment say. Numbers and names that are not set have
// the defaults of its version 1.2.0.
type Backend struct {
	Alias    string // what Sentry reads through
	Template string // the composable index template's name
	Index    string // a daily index's name, with {date}
	Pattern  string // the template's index pattern
	Codec    string
	Shards   int
	Replicas int
}

// Custom is what the backend's constructor was given instead of its defaults.
// Empty fields are the defaults.
type Custom struct{ Alias, Template, Index string }

// BackendFromEnv reads the variables that the backend reads, with the same
// rules, and returns an error where the backend would raise one.
func BackendFromEnv(getenv func(string) string, custom Custom) (Backend, error) {
	const prefix = "SENTRY_NODESTORE_OPENSEARCH_"
	b := Backend{
		Alias: cmp.Or(custom.Alias, "sentry"), Template: cmp.Or(custom.Template, "sentry"),
		Codec: cmp.Or(strings.TrimSpace(getenv(prefix+"INDEX_CODEC")), "zstd"),
	}
	var err error
	if b.Shards, err = wholeNumber(prefix+"NUMBER_OF_SHARDS", getenv, 3); err != nil {
		return Backend{}, err
	}
	if b.Replicas, err = wholeNumber(prefix+"NUMBER_OF_REPLICA", getenv, 1); err != nil {
		return Backend{}, err
	}
	if b.Pattern, err = onePattern(prefix+"INDEX_PATTERN", getenv); err != nil {
		return Backend{}, err
	}
	if b.Index, err = indexRule(custom.Index, strings.TrimSpace(getenv(prefix+"INDEX_PREFIX"))); err != nil {
		return Backend{}, err
	}
	return b, nil
}

// IndexOf is the name of the daily index that a day's nodes belong to.
func (b Backend) IndexOf(day node.Day) string {
	return strings.ReplaceAll(b.Index, datePlaceholder, day.String())
}

// AnyDaily is an expression for every daily index; DayOf tells what else it matches.
func (b Backend) AnyDaily() string { return strings.ReplaceAll(b.Index, datePlaceholder, "*") }

// DayOf is the day that a daily index of this backend holds; ok is false for
// an index that IndexOf would not name.
func (b Backend) DayOf(index string) (day node.Day, ok bool) {
	before, after, _ := strings.Cut(b.Index, datePlaceholder)
	date, found := strings.CutPrefix(index, before)
	if !found {
		return 0, false
	}
	if date, found = strings.CutSuffix(date, after); !found {
		return 0, false
	}
	day, err := node.ParseDay(date)
	return day, err == nil
}

func indexRule(custom, prefix string) (string, error) {
	switch {
	case custom == "" || custom == "sentry-{prefix}-{date}":
		if prefix != "" {
			return "sentry-" + prefix + "-" + datePlaceholder, nil
		}
		return "sentry-" + datePlaceholder, nil
	case strings.Count(custom, datePlaceholder) != 1 || strings.Count(custom, "{")+strings.Count(custom, "}") != 2:
		// The backend formats it with Python, which raises for any other field.
		return "", cluster.Mistaken(NoDate, fmt.Errorf("index %q: it must contain {date} once and no other brace", custom))
	}
	return custom, nil
}

func wholeNumber(name string, getenv func(string) string, otherwise int) (int, error) {
	text := strings.TrimSpace(getenv(name))
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, hint.Add(fmt.Errorf("%s must be an integer, not %q", name, text),
			"the backend refuses to start with it as well: set it to the same number there and here")
	}
	return n, nil
}

// onePattern accepts a plain string, a JSON array of one string, or a comma
// list that comes down to one.
func onePattern(name string, getenv func(string) string) (string, error) {
	text := strings.TrimSpace(getenv(name))
	if text == "" {
		return "sentry-*", nil
	}
	patterns := []string{text}
	var err error
	switch {
	case strings.HasPrefix(text, "["):
		err = json.Unmarshal([]byte(text), &patterns)
	case strings.Contains(text, ","):
		patterns = slices.DeleteFunc(strings.Split(text, ","), isBlank)
	}
	if err != nil || len(patterns) != 1 || isBlank(patterns[0]) {
		return "", hint.Add(fmt.Errorf("%s must be exactly one pattern, not %q", name, text),
			"write one pattern such as sentry-*, or a JSON array that holds one")
	}
	return strings.TrimSpace(patterns[0]), nil
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }

// Prefixed reports whether the backend's cleanup passes over the daily indices:
// it reads the date from the second to fourth part of a name.
func (b Backend) Prefixed() bool {
	before, _, _ := strings.Cut(b.Index, datePlaceholder)
	return strings.Count(before, "-") != 1 || !strings.HasSuffix(before, "-")
}
