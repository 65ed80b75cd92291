package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/opensearch-project/opensearch-go/v4/opensearchapi"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Origin is where the nodes of an index come from. It is kept in the `_meta`
// of every index that the tool creates.
type Origin struct {
	System   string `json:"system,omitempty"` // PostgreSQL's system identifier, if it may be read
	Database string `json:"database"`
	Table    string `json:"table"`
	Region   string `json:"region,omitempty"`
}

// metaKey is the key of Origin in a mapping's `_meta`.
const metaKey = "nodestore_migrate"

// Index is a daily index that exists.
type Index struct {
	Name   string
	Day    node.Day
	UUID   string
	Origin *Origin // nil: it was not created by this tool

	// SwitchedAt is set by whoever knows when Sentry began to write to OpenSearch,
	// in µs since 1970. Documents from then on are never replaced.
	SwitchedAt int64

	settings map[string]string
	problem  string // why its mapping breaks the reader's contract, or ""
	loading  bool   // its loading alias is there
}

// loadingSettings are an index's settings while a past day is copied into it.
// Promise 4 needs `request`: with `async`, a bulk is answered before it is on
// disk, and a flush straight afterwards does not cover all of it.
func loadingSettings() map[string]string {
	return map[string]string{
		"index.number_of_replicas":   "0",
		"index.refresh_interval":     "-1",
		"index.translog.durability":  "request",
		"index.auto_expand_replicas": "false",
	}
}

// optionalSettings are changed only where a template sets them.
var optionalSettings = map[string]bool{"index.translog.durability": true, "index.auto_expand_replicas": true}

// Loan is what creating an index for loading changes against what the
// templates say: the settings to create it with, and those to give back. A nil
// value goes back to the server's default.
type Loan struct {
	Loading map[string]string
	Return  map[string]*string
}

// Loan reads what the daily index of name would be like, and returns what has
// to be borrowed to load it.
func (t *Target) Loan(ctx context.Context, name string) (Loan, error) {
	normal, err := t.effective(ctx, name)
	if err != nil {
		return Loan{}, err
	}
	loan := Loan{Loading: make(map[string]string), Return: make(map[string]*string)}
	for setting, value := range loadingSettings() {
		before, set := normal.settings[setting]
		if before == value || (!set && optionalSettings[setting]) {
			continue
		}
		loan.Loading[setting] = value
		loan.Return[setting] = nil
		if set {
			loan.Return[setting] = &before
		}
	}
	return loan, nil
}

// LoadingName is the name through which an index is written while it is
// loaded. It is an alias of that index alone: when somebody drops the index,
// the alias goes with it and writes fail, where a write to the index's own
// name would silently create it again.
func LoadingName(index string) string { return "nodestore-migrate-" + index }

// Create creates the index of a past day for loading. The caller has recorded
// the loan before. That it is there already, as after a broken connection, is
// no error if it is of the same origin and still loading, else it is ErrExists.
func (t *Target) Create(ctx context.Context, name string, loan Loan, origin Origin) error {
	body, err := json.Marshal(map[string]any{
		"settings": loan.Loading,
		"mappings": map[string]any{"_meta": map[string]any{metaKey: origin}},
		"aliases":  map[string]any{LoadingName(name): map[string]any{}},
	})
	if err != nil {
		return fmt.Errorf("create index %s: %w", name, err)
	}
	_, err = t.api.Indices.Create(ctx, opensearchapi.IndicesCreateReq{Index: name, Body: strings.NewReader(string(body))})
	err = classify("create index "+name, err)
	if refused, ok := errors.AsType[*Error](err); !ok || refused.Type != "resource_already_exists_exception" {
		return err
	}
	found, getErr := t.get(ctx, name)
	if getErr != nil {
		return getErr
	}
	if len(found) == 1 && found[0].loading && found[0].Origin != nil && *found[0].Origin == origin {
		return nil
	}
	return hint.Add(fmt.Errorf("%w: %w", ErrExists, err), "somebody created it this moment: run the same command again")
}

// Daily returns a day's index; ok is false when there is none.
func (t *Target) Daily(ctx context.Context, day node.Day) (index Index, ok bool, err error) {
	name := t.config.Backend.IndexOf(day)
	found, err := t.get(ctx, name)
	if statusOf(err) == http.StatusNotFound {
		return Index{}, false, nil
	}
	if err != nil {
		return Index{}, false, err
	}
	if len(found) != 1 || found[0].Name != name {
		return Index{}, false, hint.Add(fmt.Errorf("read index %s: it is an alias", name),
			"daily indices must be concrete indices: check --index against Sentry's configuration")
	}
	return found[0], true, nil
}

// Durable reports whether the index's answers to writes mean that they are on disk.
func (i Index) Durable() bool { return i.settings["index.translog.durability"] != "async" }

// Created is when the index was made.
func (i Index) Created() time.Time {
	millis, err := strconv.ParseInt(i.settings["index.creation_date"], 10, 64)
	if err != nil {
		return time.Time{} // long ago, which is the careful guess
	}
	return time.UnixMilli(millis)
}

// Loading reports whether the index can be written through LoadingName.
func (i Index) Loading() bool { return i.loading }

// behindAlias lists the daily indices behind the alias, oldest first.
func (t *Target) behindAlias(ctx context.Context) ([]Index, error) {
	alias := t.config.Backend.Alias
	found, err := t.get(ctx, alias)
	if statusOf(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, index := range found {
		if index.Name == alias {
			return nil, hint.Add(fmt.Errorf("%s is an index, not an alias", alias),
				"Sentry wrote to it before the template was there: move its documents into a daily index (_reindex), delete it, then run the same command again")
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found, nil
}

func (t *Target) get(ctx context.Context, name string) ([]Index, error) {
	op := "read index " + name
	answer, err := t.api.Indices.Get(ctx, opensearchapi.IndicesGetReq{Indices: []string{name}})
	if err != nil {
		return nil, classify(op, err)
	}
	var found []Index
	for concrete, description := range *answer.IndicesGetRespData {
		settings, err := flatSettings(description.Settings)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		index := Index{Name: concrete, UUID: settings["index.uuid"], settings: settings, problem: mappingProblem(description.Mappings)}
		index.Day, _ = t.config.Backend.DayOf(concrete)
		if index.Origin, err = originOf(description.Mappings); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		_, index.loading = description.Aliases[LoadingName(concrete)]
		found = append(found, index)
	}
	return found, nil
}

func originOf(mappings json.RawMessage) (*Origin, error) {
	var mapping struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	if len(mappings) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(mappings, &mapping); err != nil {
		return nil, fmt.Errorf("decode mapping: %w", err)
	}
	raw, ok := mapping.Meta[metaKey]
	if !ok {
		return nil, nil
	}
	var origin Origin
	if err := json.Unmarshal(raw, &origin); err != nil {
		return nil, fmt.Errorf("decode _meta.%s: %w", metaKey, err)
	}
	return &origin, nil
}

// Refresh makes all that was written to indices visible to searches.
func (t *Target) Refresh(ctx context.Context, names ...string) error {
	_, err := t.api.Indices.Refresh(ctx, &opensearchapi.IndicesRefreshReq{Index: names})
	return classify("refresh index "+strings.Join(names, ","), err)
}

// Flush commits an index's segments to disk.
func (t *Target) Flush(ctx context.Context, name string) error {
	_, err := t.api.Indices.Flush(ctx, &opensearchapi.IndicesFlushReq{Indices: []string{name}})
	return classify("flush index "+name, err)
}

// Count counts the documents that a search in the index or alias would see.
func (t *Target) Count(ctx context.Context, name string) (int64, error) {
	n, err := t.count(ctx, name, nil)
	if err != nil {
		return 0, fmt.Errorf("count index %s: %w", name, err)
	}
	return n, nil
}

// Return gives borrowed settings back and ends the loading of an index. An
// index that is gone has nothing to get back.
func (t *Target) Return(ctx context.Context, name string, settings map[string]*string) error {
	if err := t.endLoading(ctx, name); err != nil {
		return err
	}
	if len(settings) == 0 {
		return nil // the server refuses a change of nothing
	}
	body, err := json.Marshal(settings)
	if err != nil {
		return fmt.Errorf("restore settings of index %s: %w", name, err)
	}
	_, err = t.api.Indices.Settings.Put(ctx, opensearchapi.SettingsPutReq{Indices: []string{name}, Body: strings.NewReader(string(body))})
	err = classify("restore settings of index "+name, err)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

func (t *Target) endLoading(ctx context.Context, name string) error {
	_, err := t.api.Indices.Alias.Delete(ctx, opensearchapi.AliasDeleteReq{Indices: []string{name}, Alias: []string{LoadingName(name)}})
	err = classify("remove alias "+LoadingName(name), err)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// Green waits until every copy of an index's shards is there, at most for the
// given time. It reports whether they are.
func (t *Target) Green(ctx context.Context, name string, patience time.Duration) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		answer, err := t.api.Cluster.Health(ctx, &opensearchapi.ClusterHealthReq{
			Indices: []string{name},
			Params:  opensearchapi.ClusterHealthParams{WaitForStatus: "green", Timeout: min(max(time.Until(deadline), time.Millisecond), time.Minute)},
		})
		err = classify("wait for the replicas of index "+name, err)
		if statusOf(err) != http.StatusRequestTimeout { // how the server says that the time is over
			return err == nil && answer.Status == "green", err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
	}
}

// flatSettings turns nested settings into dotted keys with string values.
func flatSettings(raw json.RawMessage) (map[string]string, error) {
	flat := make(map[string]string)
	if len(raw) == 0 {
		return flat, nil
	}
	var nested map[string]any
	if err := json.Unmarshal(raw, &nested); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	flatten("", nested, flat)
	return flat, nil
}

func flatten(prefix string, nested map[string]any, flat map[string]string) {
	for key, value := range nested {
		if inner, ok := value.(map[string]any); ok {
			flatten(prefix+key+".", inner, flat)
			continue
		}
		flat[prefix+key] = fmt.Sprint(value)
	}
}
