package target

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Preview is what a new daily index would be like.
type Preview struct {
	TemplateExists bool     // else the one that EnsureTemplate would write was asked about
	Overlapping    []string // other templates that match too and lose
	Codec          string
	Shards         int
	Replicas       int
}

// Preview asks what the index of the newest of the given days would get, without
// creating anything. It returns the errors of EnsureTemplate, and of CheckDays
// for those of the days that have no index: a codec that the server lacks,
// templates in each other's way, a mapping that breaks the reader's contract.
func (t *Target) Preview(ctx context.Context, days ...node.Day) (Preview, error) {
	exists, err := t.templateExists(ctx)
	if err != nil {
		return Preview{}, err
	}
	preview, err := t.preview(ctx, exists, days)
	if err == nil || exists {
		return preview, err
	}
	// Sentry, or another process of the same migration, may have written the template this moment.
	if exists, lookErr := t.templateExists(ctx); lookErr != nil || !exists {
		return preview, err
	}
	return t.preview(ctx, true, days)
}

func (t *Target) preview(ctx context.Context, exists bool, days []node.Day) (Preview, error) {
	found, template, err := t.foresee(ctx, slices.Max(days), exists)
	if err != nil {
		return Preview{}, err
	}
	preview := Preview{TemplateExists: exists, Overlapping: found.overlapping}
	if err := preview.take(found.settings); err != nil {
		return preview, err
	}
	_, absent, err := t.divide(ctx, days)
	if err != nil {
		return preview, err
	}
	return preview, t.checkAbsent(ctx, absent, template)
}

// foresee simulates a day's index, with the template that EnsureTemplate would
// write where there is none.
func (t *Target) foresee(ctx context.Context, day node.Day, exists bool) (found foreseen, template any, err error) {
	if !exists {
		template = t.config.Backend.template()
	}
	found, err = t.simulate(ctx, t.config.Backend.IndexOf(day), template)
	return found, template, err
}

func (p *Preview) take(settings map[string]string) (err error) {
	p.Codec = or(settings["index.codec"], "default")
	numbers := map[string]*int{"index.number_of_shards": &p.Shards, "index.number_of_replicas": &p.Replicas}
	for name, field := range numbers {
		if *field, err = strconv.Atoi(or(settings[name], "1")); err != nil { // the server's default of both
			return fmt.Errorf("read setting %s: %w", name, err)
		}
	}
	return nil
}

// Existing is an index that is there: behind the alias, or named like a daily one.
type Existing struct {
	Index
	Daily  bool // its name is a day's
	Blocks []string
	Health string // green, yellow, red
	Docs   int64
	Bytes  int64 // of the primaries
}

// Existing lists the indices that are there, by name. An alias that is an
// index is the error of CheckContract.
func (t *Target) Existing(ctx context.Context) ([]Existing, error) {
	behind, err := t.behindAlias(ctx)
	if err != nil {
		return nil, err
	}
	b := t.config.Backend
	like, err := t.get(ctx, b.anyDaily())
	if err != nil && !IsGone(err) {
		return nil, err
	}
	found := make(map[string]Existing)
	for _, index := range behind {
		found[index.Name] = Existing{Index: index}
	}
	for _, index := range like {
		if _, daily := b.DayOf(index.Name); daily && !found[index.Name].Behind {
			found[index.Name] = Existing{Index: index}
		}
	}
	return t.withSizes(ctx, found)
}

// withSizes completes the indices that were found and sorts them.
func (t *Target) withSizes(ctx context.Context, found map[string]Existing) ([]Existing, error) {
	if len(found) == 0 {
		return nil, nil
	}
	b := t.config.Backend
	sizes := make(map[string]catIndex)
	for _, expression := range []string{b.Alias, b.anyDaily()} {
		var rows []catIndex
		path := "/_cat/indices/" + url.PathEscape(expression) + "?format=json&bytes=b&h=index,health,docs.count,pri.store.size"
		err := t.ask(ctx, http.MethodGet, path, nil, &rows)
		if err != nil && !IsGone(err) {
			return nil, err
		}
		for _, row := range rows {
			sizes[row.Index] = row
		}
	}
	var all []Existing
	for _, e := range found {
		_, e.Daily = b.DayOf(e.Name)
		e.Blocks = blocks(e.settings)
		row := sizes[e.Name]
		e.Health, e.Docs, e.Bytes = row.Health, number(row.Docs), number(row.Bytes)
		all = append(all, e)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// catIndex is a row of _cat/indices. A closed index has no numbers.
type catIndex struct {
	Index  string `json:"index"`
	Health string `json:"health"`
	Docs   string `json:"docs.count"`
	Bytes  string `json:"pri.store.size"`
}

// number is a count that is absent for closed indices.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// blocks names the blocks that keep writes out of an index.
func blocks(settings map[string]string) (names []string) {
	for _, name := range []string{"read_only", "read_only_allow_delete", "write"} {
		if settings["index.blocks."+name] == "true" {
			names = append(names, "index.blocks."+name)
		}
	}
	return names
}
