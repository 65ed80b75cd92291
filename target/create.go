package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

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
	Shape   Shape // stays
}

// Loan reads what the daily index of name would be like, and returns what has
// to be borrowed to load it.
func (t *Target) Loan(ctx context.Context, name string) (Loan, error) {
	normal, err := t.simulate(ctx, name, nil)
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
	settings := maps.Clone(loan.Loading)
	maps.Copy(settings, loan.Shape.settings())
	body := map[string]any{
		"settings": settings,
		"mappings": map[string]any{"_meta": map[string]any{metaKey: origin}},
		"aliases":  map[string]any{LoadingName(name): map[string]any{}},
	}
	err := t.put(ctx, name, body)
	if err != nil && strings.Contains(err.Error(), "total awareness attributes") {
		delete(settings, "index.number_of_replicas") // awareness balance forbids none: the template's number stays
		err = t.put(ctx, name, body)
	}
	if typeOf(err) != typeExists {
		return err
	}
	found, getErr := t.get(ctx, name)
	if getErr != nil {
		return getErr
	}
	if len(found) == 1 && found[0].loading && found[0].Versioned() && *found[0].Origin == origin {
		return nil
	}
	return hint.Add(fmt.Errorf("%w: %w", ErrExists, err), "somebody created it this moment: run the same command again")
}

// CreateShared creates the index of a present or future day as Sentry's writer
// would by writing, which action.auto_create_index may forbid: with what the
// templates give and nothing else, but marked as this tool's and Sentry's. That
// it is there already is not an error, however it came about.
func (t *Target) CreateShared(ctx context.Context, name string, origin Origin) error {
	origin.Shared = true
	err := t.put(ctx, name, map[string]any{"mappings": map[string]any{"_meta": map[string]any{metaKey: origin}}})
	if typeOf(err) == typeExists {
		return nil
	}
	return err
}

const typeExists = "resource_already_exists_exception"

// put creates an index. Primaries that no node may hold are an error: nothing
// would ever be written there.
func (t *Target) put(ctx context.Context, name string, body any) error {
	var answer struct {
		Acknowledged bool `json:"shards_acknowledged"`
	}
	err := t.ask(ctx, http.MethodPut, "/"+url.PathEscape(name), body, &answer)
	if err == nil && !answer.Acknowledged {
		err = t.explain(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("create index %s: %w", name, err)
	}
	return nil
}

// explain says in one line why a primary of an index has no node, if no node may
// ever have it.
func (t *Target) explain(ctx context.Context, name string) error {
	var rows []struct{ Shard, Prirep, State string }
	if err := t.ask(ctx, http.MethodGet, "/_cat/shards/"+url.PathEscape(name)+"?format=json&h=shard,prirep,state", nil, &rows); err != nil {
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
		if err := t.ask(ctx, http.MethodPost, "/_cluster/allocation/explain", question, &why); err != nil {
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
