package target

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// LoadingSettings are an index's settings while a past day is copied into it.
// Promise 4 needs `request`: with `async`, a bulk is answered before it is on
// disk, and a flush straight afterwards does not cover all of it.
func LoadingSettings() map[string]string {
	return map[string]string{
		"index.number_of_replicas":   "0",
		"index.refresh_interval":     "-1",
		"index.translog.durability":  "request",
		"index.auto_expand_replicas": "false",
	}
}

// optionalSettings are changed only where a template sets them.
var optionalSettings = map[string]bool{"index.translog.durability": true, "index.auto_expand_replicas": true}

// Loan is what an index lends for loading: the settings that it is created with
// against what the templates say, and those that it is given back. A nil value
// goes back to the server's default.
type Loan struct {
	Settings map[string]string
	Before   map[string]*string
	Shape    Shape // stays
}

// Loan reads what the daily index of name would be like, and returns what has
// to be borrowed to load it.
func (t *Target) Loan(ctx context.Context, name string) (Loan, error) {
	normal, err := t.Simulate(ctx, name)
	if err != nil {
		return Loan{}, err
	}
	loan := Loan{Settings: make(map[string]string), Before: make(map[string]*string)}
	for setting, value := range LoadingSettings() {
		before, set := normal.Settings[setting]
		if before == value || (!set && optionalSettings[setting]) {
			continue
		}
		loan.Settings[setting] = value
		loan.Before[setting] = nil
		if set {
			loan.Before[setting] = &before
		}
	}
	return loan, nil
}

// Create creates the index of a past day for loading. The caller has recorded
// the loan before. That it is there already, as after a broken connection, is
// no error if it is of the same origin and still loading, else it is ErrExists.
func (t *Target) Create(ctx context.Context, name string, loan Loan, origin Origin) error {
	settings := maps.Clone(loan.Settings)
	maps.Copy(settings, loan.Shape.settings())
	body := map[string]any{
		"settings": settings,
		"mappings": map[string]any{"_meta": map[string]any{metaKey: origin}},
		"aliases":  map[string]any{LoadingName(name): map[string]any{}},
	}
	err := t.PutIndex(ctx, name, body)
	if err != nil && strings.Contains(err.Error(), "total awareness attributes") {
		delete(settings, "index.number_of_replicas") // awareness balance forbids none: the template's number stays
		err = t.PutIndex(ctx, name, body)
	}
	if cluster.TypeOf(err) != cluster.AlreadyExists {
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
	err := t.PutIndex(ctx, name, map[string]any{"mappings": map[string]any{"_meta": map[string]any{metaKey: origin}}})
	if cluster.TypeOf(err) == cluster.AlreadyExists {
		return nil
	}
	return err
}

// GiveBack gives an index the settings back that it lent, and ends its loading.
// An index that is gone has nothing to get back.
func (t *Target) GiveBack(ctx context.Context, name string, settings map[string]*string) error {
	alias := LoadingName(name)
	err := t.Ask(ctx, http.MethodDelete, "/"+url.PathEscape(name)+"/_alias/"+url.PathEscape(alias), nil, nil)
	if err != nil && !IsGone(err) {
		return fmt.Errorf("remove alias %s: %w", alias, err)
	}
	if len(settings) == 0 {
		return nil // the server refuses a change of nothing
	}
	err = t.Ask(ctx, http.MethodPut, "/"+url.PathEscape(name)+"/_settings", settings, nil)
	if err != nil && !IsGone(err) {
		return fmt.Errorf("give index %s its settings back: %w", name, err)
	}
	return nil
}
