package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// indices are the indices of the cluster, and which of them are the backend's.
type indices struct {
	*cluster.Cluster
	backend Backend
}

// Index is a daily index that exists.
type Index struct {
	Name   string
	Daily  bool     // its name is a day's
	Day    node.Day // of a daily index
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
func (x *indices) Daily(ctx context.Context, day node.Day) (index Index, ok bool, err error) {
	return x.named(ctx, x.backend.IndexOf(day))
}

// Reload returns an index as it is now, and whether it still is the one that
// was known. The zero Index is one that is gone.
func (x *indices) Reload(ctx context.Context, known Index) (now Index, same bool, err error) {
	now, ok, err := x.named(ctx, known.Name)
	if err != nil || !ok {
		return Index{}, false, err
	}
	now.SwitchedAt, now.Wrote = known.SwitchedAt, known.Wrote
	return now, now.UUID == known.UUID, nil
}

// named is Daily for any name.
func (x *indices) named(ctx context.Context, name string) (index Index, ok bool, err error) {
	err = x.twice(ctx, func() (bool, error) {
		found, err := x.get(ctx, name)
		switch {
		case IsGone(err):
			return false, nil
		case err != nil:
			return false, err
		case len(found) != 1 || found[0].Name != name:
			return false, notConcrete(name)
		}
		index, ok = found[0], true
		return true, nil
	})
	return index, ok, err
}

// twice looks again if the first look finds nothing, and makes sure that it was
// the same cluster both times if the second finds nothing either.
func (x *indices) twice(ctx context.Context, look func() (found bool, err error)) error {
	if found, err := look(); found || err != nil {
		return err
	}
	if err := orderly.Sleep(ctx, secondLook); err != nil {
		return err
	}
	if found, err := look(); found || err != nil {
		return err
	}
	return x.Same(ctx)
}

func notConcrete(name string) error {
	return cluster.Mistaken(NotConcrete, fmt.Errorf("read index %s: it is an alias", name))
}

// Blocks names the blocks that keep writes out of the index.
func (i Index) Blocks() []string { return blocks(i.settings) }

// Durable reports whether the index's answers to writes mean that they are on disk.
func (i Index) Durable() bool { return i.settings["index.translog.durability"] != "async" }

// Loading reports whether the index can be written through LoadingName.
func (i Index) Loading() bool { return i.loading }

// behindAlias lists the indices behind the alias, by name.
func (x *indices) behindAlias(ctx context.Context) ([]Index, error) {
	alias := x.backend.Alias
	var found []Index
	err := x.twice(ctx, func() (ok bool, err error) {
		if found, err = x.get(ctx, alias); IsGone(err) {
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
	return found, nil
}

// get reads what an expression leads to, by name; wildcards also find closed and hidden indices.
func (x *indices) get(ctx context.Context, expression string) ([]Index, error) {
	var answer map[string]description
	err := x.Ask(ctx, http.MethodGet, "/"+url.PathEscape(expression)+"?expand_wildcards=all", nil, &answer)
	if err != nil {
		return nil, fmt.Errorf("read index %s: %w", expression, err)
	}
	found := make([]Index, 0, len(answer))
	for name, d := range answer {
		index, err := x.describe(name, d)
		if err != nil {
			return nil, fmt.Errorf("read index %s: %w", name, err)
		}
		found = append(found, index)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found, nil
}

func (x *indices) describe(name string, d description) (index Index, err error) {
	index = Index{Name: name, settings: flat(d.Settings), aliases: d.Aliases}
	if index.Origin, err = originOf(d.Mappings); err != nil {
		return index, err
	}
	index.Day, index.Daily = x.backend.DayOf(name)
	_, index.Behind = d.Aliases[x.backend.Alias]
	_, index.loading = d.Aliases[LoadingName(name)]
	index.UUID = index.settings["index.uuid"]
	index.problem = x.backend.unfit(d, index.settings)
	if index.problem.text == "" && index.Daily && !index.Behind {
		index.problem = problem{
			text:   fmt.Sprintf("it is named like a daily index but is not behind alias %s: Sentry would not find what goes there", x.backend.Alias),
			remedy: "add it to the alias (POST /_aliases), or remove it",
		}
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

// LoadingName is the name through which an index is written while it is
// loaded. It is an alias of that index alone: when somebody drops the index,
// the alias goes with it and writes fail, where a write to the index's own
// name would silently create it again.
func LoadingName(index string) string { return "nodestore-migrate-" + index }

// PutIndex creates an index. Primaries that no node may hold are an error: nothing
// would ever be written there.
func (x *indices) PutIndex(ctx context.Context, name string, body any) error {
	var answer struct {
		Acknowledged bool `json:"shards_acknowledged"`
	}
	err := x.Ask(ctx, http.MethodPut, "/"+url.PathEscape(name), body, &answer)
	if err == nil && !answer.Acknowledged {
		err = x.explain(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("create index %s: %w", name, err)
	}
	return nil
}

// explain says in one line why a primary of an index has no node, if no node may
// ever have it.
func (x *indices) explain(ctx context.Context, name string) error {
	var rows []struct{ Shard, Prirep, State string }
	if err := x.Ask(ctx, http.MethodGet, "/_cat/shards/"+url.PathEscape(name)+"?format=json&h=shard,prirep,state", nil, &rows); err != nil {
		return err
	}
	for _, row := range rows {
		if row.Prirep != "p" || row.State != "UNASSIGNED" {
			continue
		}
		var why struct {
			Can   string `json:"can_allocate"`
			Nodes []struct {
				Deciders []struct{ Decider, Explanation string }
			} `json:"node_allocation_decisions"`
		}
		shard, _ := strconv.Atoi(row.Shard) // a number, by its column
		question := map[string]any{"index": name, "shard": shard, "primary": true}
		if err := x.Ask(ctx, http.MethodPost, "/_cluster/allocation/explain", question, &why); err != nil {
			return err
		}
		if why.Can != "no" {
			continue // it will have one
		}
		text := "no node may hold shard " + row.Shard
		if len(why.Nodes) > 0 && len(why.Nodes[0].Deciders) > 0 {
			first := why.Nodes[0].Deciders[0]
			text += fmt.Sprintf(": %s: %s", first.Decider, first.Explanation)
		}
		return hint.Add(errors.New(text), "correct the allocation rule in the template or the cluster's settings, or make room; DELETE /"+name+", which is empty, and run the same command again")
	}
	return nil
}

// Refresh makes all that was written to indices visible to searches.
func (x *indices) Refresh(ctx context.Context, names ...string) error {
	list := strings.Join(names, ",")
	if err := x.OnAllShards(ctx, "/"+url.PathEscape(list)+"/_refresh"); err != nil {
		return fmt.Errorf("refresh index %s: %w", list, err)
	}
	return nil
}

// Flush commits an index's segments to disk.
func (x *indices) Flush(ctx context.Context, name string) error {
	if err := x.OnAllShards(ctx, "/"+url.PathEscape(name)+"/_flush"); err != nil {
		return fmt.Errorf("flush index %s: %w", name, err)
	}
	return nil
}

// Green waits until every copy of an index's shards is there, at most for the
// given time. It reports whether they are.
func (x *indices) Green(ctx context.Context, name string, patience time.Duration) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		var answer struct{ Status string }
		wait := min(max(time.Until(deadline), time.Millisecond), time.Minute)
		path := fmt.Sprintf("/_cluster/health/%s?wait_for_status=green&timeout=%dms", url.PathEscape(name), wait.Milliseconds())
		err := x.Ask(ctx, http.MethodGet, path, nil, &answer)
		if cluster.StatusOf(err) != http.StatusRequestTimeout { // how the server says that the time is over
			return err == nil && answer.Status == "green", err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
	}
}

// Drop deletes an index.
func (x *indices) Drop(ctx context.Context, name string) error {
	if err := x.Ask(ctx, http.MethodDelete, "/"+url.PathEscape(name), nil, nil); err != nil {
		return fmt.Errorf("delete index %s: %w", name, err)
	}
	return nil
}
