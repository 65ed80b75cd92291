package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Origin is where the nodes of an index come from. It is kept in the `_meta`
// of every index that the tool creates.
type Origin struct {
	System   string `json:"system,omitempty"` // PostgreSQL's system identifier, if it may be read
	Database string `json:"database"`
	Table    string `json:"table"`
	Region   string `json:"region,omitempty"`
	// Shared: Sentry may write to the index as well.
	Shared bool `json:"shared,omitempty"`
}

// metaKey is the key of Origin in a mapping's `_meta`.
const metaKey = "nodestore_migrate"

// Index is a daily index that exists.
type Index struct {
	Name   string
	Day    node.Day
	UUID   string
	Origin *Origin // nil: it was not created by this tool
	Behind bool    // the backend's alias leads to it

	// SwitchedAt is set by the caller that knows when Sentry began to write to OpenSearch,
	// in µs since 1970. Documents from then on are never replaced.
	SwitchedAt int64
	// Wrote, if it is set, knows documents that this tool wrote of rows that are
	// dated after that: newer such rows replace them.
	Wrote func(Copy) bool

	settings map[string]string
	aliases  map[string]aliasRules
	problem  problem
	loading  bool // its loading alias is there
}

// Ours reports whether this tool made the index.
func (i Index) Ours() bool { return i.Origin != nil }

// Versioned reports whether only this tool writes to the index, so that nodes
// carry their timestamps as versions there.
func (i Index) Versioned() bool { return i.Origin != nil && !i.Origin.Shared }

// Problem says why nothing may be written to the index, or "": Sentry would not
// find there what it asks for, or not all of it.
func (i Index) Problem() string { return i.problem.text }

// Remedy says what to do about Problem.
func (i Index) Remedy() string { return i.problem.remedy }

// secondLook is the pause before an index that is not there is asked for again.
const secondLook = 100 * time.Millisecond

// Daily returns a day's index. Since an index that is gone has consequences, ok
// is false only if two looks do not find it, and the cluster is still the same.
func (t *Target) Daily(ctx context.Context, day node.Day) (index Index, ok bool, err error) {
	return t.named(ctx, t.config.Backend.IndexOf(day))
}

// Reload returns an index as it is now, and whether it still is the one that
// was known. The zero Index is one that is gone.
func (t *Target) Reload(ctx context.Context, known Index) (now Index, same bool, err error) {
	now, ok, err := t.named(ctx, known.Name)
	if err != nil || !ok {
		return Index{}, false, err
	}
	now.SwitchedAt, now.Wrote = known.SwitchedAt, known.Wrote
	return now, now.UUID == known.UUID, nil
}

// named is Daily for any name.
func (t *Target) named(ctx context.Context, name string) (index Index, ok bool, err error) {
	err = t.twice(ctx, func() (bool, error) {
		index, ok, err = t.look(ctx, name)
		return ok, err
	})
	return index, ok, err
}

// twice looks again if the first look finds nothing, and makes sure that it was
// the same cluster both times if the second finds nothing either.
func (t *Target) twice(ctx context.Context, look func() (found bool, err error)) error {
	if found, err := look(); found || err != nil {
		return err
	}
	if err := orderly.Sleep(ctx, secondLook); err != nil {
		return err
	}
	if found, err := look(); found || err != nil {
		return err
	}
	return t.sameCluster(ctx)
}

func (t *Target) look(ctx context.Context, name string) (index Index, ok bool, err error) {
	found, err := t.get(ctx, name)
	if IsGone(err) {
		return Index{}, false, nil
	}
	if err != nil {
		return Index{}, false, err
	}
	if len(found) != 1 || found[0].Name != name {
		return Index{}, false, notConcrete(name)
	}
	return found[0], true, nil
}

func notConcrete(name string) error {
	return hint.Add(fmt.Errorf("read index %s: it is an alias", name),
		"daily indices must be concrete indices: check --index against Sentry's configuration")
}

// Durable reports whether the index's answers to writes mean that they are on disk.
func (i Index) Durable() bool { return i.settings["index.translog.durability"] != "async" }

// Loading reports whether the index can be written through LoadingName.
func (i Index) Loading() bool { return i.loading }

// behindAlias lists the daily indices behind the alias, oldest first.
func (t *Target) behindAlias(ctx context.Context) ([]Index, error) {
	alias := t.config.Backend.Alias
	var found []Index
	err := t.twice(ctx, func() (ok bool, err error) {
		if found, err = t.get(ctx, alias); IsGone(err) {
			return false, nil
		}
		return true, err
	})
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

// get reads what an expression leads to; wildcards also find closed and hidden indices.
func (t *Target) get(ctx context.Context, expression string) ([]Index, error) {
	var answer map[string]description
	err := t.ask(ctx, http.MethodGet, "/"+url.PathEscape(expression)+"?expand_wildcards=all", nil, &answer)
	if err != nil {
		return nil, fmt.Errorf("read index %s: %w", expression, err)
	}
	found := make([]Index, 0, len(answer))
	for name, d := range answer {
		index, err := t.describe(name, d)
		if err != nil {
			return nil, fmt.Errorf("read index %s: %w", name, err)
		}
		found = append(found, index)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found, nil
}

func (t *Target) describe(name string, d description) (index Index, err error) {
	index = Index{Name: name, aliases: d.Aliases}
	if index.settings, err = flatSettings(d.Settings); err != nil {
		return index, err
	}
	if index.Origin, err = originOf(d.Mappings); err != nil {
		return index, err
	}
	var daily bool
	index.Day, daily = t.config.Backend.DayOf(name)
	_, index.Behind = d.Aliases[t.config.Backend.Alias]
	_, index.loading = d.Aliases[LoadingName(name)]
	index.UUID = index.settings["index.uuid"]
	index.problem = t.config.Backend.unfit(d, index.settings)
	if index.problem.text == "" && daily && !index.Behind {
		index.problem = outside(t.config.Backend.Alias)
	}
	return index, nil
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
	list := strings.Join(names, ",")
	if err := t.onAllShards(ctx, "/"+url.PathEscape(list)+"/_refresh"); err != nil {
		return fmt.Errorf("refresh index %s: %w", list, err)
	}
	return nil
}

// Flush commits an index's segments to disk.
func (t *Target) Flush(ctx context.Context, name string) error {
	if err := t.onAllShards(ctx, "/"+url.PathEscape(name)+"/_flush"); err != nil {
		return fmt.Errorf("flush index %s: %w", name, err)
	}
	return nil
}

// onAllShards posts what no shard may fail to do. Replicas without a node count
// as neither failed nor successful.
func (t *Target) onAllShards(ctx context.Context, path string) error {
	var patience backoff
	for {
		var answer wholeness
		if err := t.ask(ctx, http.MethodPost, path, nil, &answer); err != nil {
			return err
		}
		if answer.Shards.Failed == 0 {
			return nil
		}
		cause := fmt.Errorf("%w: %d of %d shards failed", ErrIncomplete, answer.Shards.Failed, answer.Shards.Total)
		if err := t.pause(ctx, &patience, cause); err != nil {
			return err
		}
	}
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
	err := t.ask(ctx, http.MethodPut, "/"+url.PathEscape(name)+"/_settings", settings, nil)
	if err == nil || IsGone(err) {
		return nil
	}
	return fmt.Errorf("restore settings of index %s: %w", name, err)
}

func (t *Target) endLoading(ctx context.Context, name string) error {
	err := t.ask(ctx, http.MethodDelete, "/"+url.PathEscape(name)+"/_alias/"+url.PathEscape(LoadingName(name)), nil, nil)
	if err == nil || IsGone(err) {
		return nil
	}
	return fmt.Errorf("remove alias %s: %w", LoadingName(name), err)
}

// Green waits until every copy of an index's shards is there, at most for the
// given time. It reports whether they are.
func (t *Target) Green(ctx context.Context, name string, patience time.Duration) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		var answer Health
		wait := min(max(time.Until(deadline), time.Millisecond), time.Minute)
		path := fmt.Sprintf("/_cluster/health/%s?wait_for_status=green&timeout=%dms", url.PathEscape(name), wait.Milliseconds())
		err := t.ask(ctx, http.MethodGet, path, nil, &answer)
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
