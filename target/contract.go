package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// CheckContract makes sure that what is written to any daily index can be held
// whole and read back by Sentry: the alias is one, the indices behind it fit, and
// so do those of the given days, as they are or as the templates would make them.
func (t *Target) CheckContract(ctx context.Context, days ...node.Day) error {
	existing, err := t.behindAlias(ctx)
	if err != nil {
		return err
	}
	for _, index := range existing {
		if err := index.problem.refuse(fmt.Sprintf("index %s behind alias %s", index.Name, t.backend.Alias)); err != nil {
			return err
		}
	}
	return t.CheckDays(ctx, days)
}

// CheckDays is CheckContract for the indices of the given days alone, each of
// them: a second template may match only some.
func (t *Target) CheckDays(ctx context.Context, days []node.Day) error {
	there, absent, err := t.divide(ctx, days)
	if err != nil {
		return err
	}
	for _, index := range there {
		if err := index.problem.refuse("index " + index.Name); err != nil {
			return err
		}
	}
	return t.checkAbsent(ctx, absent, nil)
}

// divide returns the indices of those days that have one, and the other days.
func (t *Target) divide(ctx context.Context, days []node.Day) (there []Index, absent []node.Day, err error) {
	b := t.backend
	all, err := t.get(ctx, b.AnyDaily())
	if err != nil && !IsGone(err) {
		return nil, nil, err
	}
	known := make(map[string]Index)
	for _, index := range all {
		known[index.Name] = index
		for alias := range index.aliases {
			if _, daily := b.DayOf(alias); daily {
				return nil, nil, notConcrete(alias)
			}
		}
	}
	for _, day := range days {
		if index, ok := known[b.IndexOf(day)]; ok {
			there = append(there, index)
			continue
		}
		absent = append(absent, day)
	}
	return there, absent, nil
}

// simulations is how many templates are tried at a time.
const simulations = 8

// checkAbsent tries what the templates would make of each day's index, with one
// that may not be written yet.
func (t *Target) checkAbsent(ctx context.Context, days []node.Day, template map[string]any) error {
	problems := make([]problem, len(days))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(simulations)
	for i, day := range days {
		group.Go(func() error {
			found, err := t.simulate(ctx, t.backend.IndexOf(day), template)
			problems[i] = found.problem
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	alike := make(map[problem][]string)
	for i, p := range problems {
		if p.text != "" {
			alike[p] = append(alike[p], t.backend.IndexOf(days[i]))
		}
	}
	var errs []error
	for p, names := range alike {
		sort.Strings(names)
		subject := names[0]
		if more := len(names) - 1; more > 0 {
			subject += fmt.Sprintf(" and %d more up to %s", more, names[more])
		}
		errs = append(errs, p.refuse("index templates for "+subject))
	}
	return errors.Join(errs...)
}

// CheckOrigin makes sure that all that this tool made behind the alias came
// from the same source as this run's nodes, whichever machine and checkpoint
// it was made with (promise 9). Indices that Sentry made have no origin and
// are not asked.
func (t *Target) CheckOrigin(ctx context.Context, origins Origins) error {
	existing, err := t.behindAlias(ctx)
	if err != nil {
		return err
	}
	for _, index := range existing {
		if index.Origin != nil && !origins.Have(*index.Origin) {
			return cluster.Mistaken(OtherOrigin, fmt.Errorf("index %s behind alias %s was filled from %s: this run reads %s",
				index.Name, t.backend.Alias, index.Origin, origins[0]))
		}
	}
	return nil
}

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
	template, err := t.unwritten(ctx)
	if err != nil {
		return Preview{}, err
	}
	preview, err := t.preview(ctx, days, template)
	if err == nil || template == nil {
		return preview, err
	}
	// Sentry, or another process of the same migration, may have written the template this moment.
	if template, lookErr := t.unwritten(ctx); lookErr != nil || template != nil {
		return preview, err
	}
	return t.preview(ctx, days, nil)
}

func (t *Target) preview(ctx context.Context, days []node.Day, template map[string]any) (p Preview, err error) {
	found, err := t.simulate(ctx, t.backend.IndexOf(slices.Max(days)), template)
	if err != nil {
		return Preview{}, err
	}
	p = Preview{TemplateExists: template == nil, Overlapping: found.Overlapping, Codec: cmp.Or(found.Settings["index.codec"], "default")}
	for name, field := range map[string]*int{"index.number_of_shards": &p.Shards, "index.number_of_replicas": &p.Replicas} {
		if *field, err = strconv.Atoi(cmp.Or(found.Settings[name], "1")); err != nil { // the server's default of both
			return p, fmt.Errorf("read setting %s: %w", name, err)
		}
	}
	_, absent, err := t.divide(ctx, days)
	if err != nil {
		return p, err
	}
	return p, t.checkAbsent(ctx, absent, template)
}
