package target

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// description is an index as the cluster describes it, or one as its templates
// would make it.
type description struct {
	Settings json.RawMessage       `json:"settings"`
	Mappings json.RawMessage       `json:"mappings"`
	Aliases  map[string]aliasRules `json:"aliases"`
}

// aliasRules are what an alias changes for those who ask through it.
type aliasRules struct {
	Filter        json.RawMessage `json:"filter"`
	Routing       string          `json:"routing"`
	IndexRouting  string          `json:"index_routing"`
	SearchRouting string          `json:"search_routing"`
	WriteIndex    bool            `json:"is_write_index"`
}

// problem is why an index may not be written to, and what to do about it.
type problem struct{ text, remedy string }

const (
	mappingRemedy = "such a mapping cannot be changed in place: make the template right (data: keyword, index=false, store=true, doc_values=false; timestamp: date), " +
		"reindex or remove the daily indices that have the old one, then run the same command again"
	pipelineRemedy = "set index.default_pipeline and index.final_pipeline to _none in the index's settings and in the template; what a pipeline does to documents cannot be undone by a reader"
	aliasRemedy    = "give the alias neither a filter nor a routing, in the index (POST /_aliases) and in the template"
)

// unfit says why an index breaks the reader's contract, or why it cannot be
// written to as Sentry's writer would. It holds for indices that exist and for
// those that templates would make.
func (b Backend) unfit(d description, settings map[string]string) problem {
	if settings["index.verified_before_close"] == "true" {
		return problem{"it is closed", hintClosed}
	}
	if text := mappingProblem(d.Mappings); text != "" {
		return problem{text, mappingRemedy}
	}
	if text := d.Aliases[b.Alias].problem(); text != "" {
		return problem{fmt.Sprintf("alias %s has %s for it: Sentry would not see every document", b.Alias, text), aliasRemedy}
	}
	for _, name := range []string{"index.default_pipeline", "index.final_pipeline"} {
		if pipeline := cmp.Or(settings[name], "_none"); pipeline != "_none" {
			return problem{fmt.Sprintf("%s=%s may change or drop every document", name, pipeline), pipelineRemedy}
		}
	}
	return problem{}
}

func (r aliasRules) problem() string {
	switch {
	case len(r.Filter) > 0:
		return "a filter"
	case r.Routing != "" || r.IndexRouting != "" || r.SearchRouting != "":
		return "a routing"
	}
	return ""
}

// outside is the problem of a daily index that Sentry does not read.
func outside(alias string) problem {
	return problem{
		fmt.Sprintf("it is named like a daily index but is not behind alias %s: Sentry would not find what goes there", alias),
		"add it to the alias (POST /_aliases), or remove it",
	}
}

// refuse is a problem as an error about a subject, nil without one.
func (p problem) refuse(subject string) error {
	if p.text == "" {
		return nil
	}
	return hint.Add(fmt.Errorf("%s: %s", subject, p.text), p.remedy)
}

// CheckContract makes sure that what is written to any daily index can be held
// whole and read back by Sentry: the alias is one, the indices behind it fit, and
// so do those of the given days, as they are or as the templates would make them.
func (t *Target) CheckContract(ctx context.Context, days ...node.Day) error {
	existing, err := t.behindAlias(ctx)
	if err != nil {
		return err
	}
	for _, index := range existing {
		if err := index.problem.refuse(fmt.Sprintf("index %s behind alias %s", index.Name, t.config.Backend.Alias)); err != nil {
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
	b := t.config.Backend
	all, err := t.get(ctx, b.anyDaily())
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
func (t *Target) checkAbsent(ctx context.Context, days []node.Day, template any) error {
	problems := make([]problem, len(days))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(simulations)
	for i, day := range days {
		group.Go(func() error {
			found, err := t.simulate(ctx, t.config.Backend.IndexOf(day), template)
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
			alike[p] = append(alike[p], t.config.Backend.IndexOf(days[i]))
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
