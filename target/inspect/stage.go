package inspect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// stagePrefix begins the names of everything that belongs to a stage.
const stagePrefix = "nodestore-migrate-rehearsal-"

// stageMark is in a stage's template: without it, nothing is removed.
const stageMark = "nodestore-migrate-rehearsal"

// Stage is an alias with daily indices of its own, like those that Sentry's alias has,
// for a rehearsal. Sentry does not know it.
type Stage struct {
	Name string // of its alias and its template; its indices begin with it
	target.Backend
}

// RaiseStage writes the template of a stage, whose indices are like a day's, but without
// replicas. The caller strikes it.
func RaiseStage(ctx context.Context, t *target.Target, day node.Day) (Stage, error) {
	like, err := t.Foresee(ctx, day)
	if err != nil {
		return Stage{}, err
	}
	s := Stage{Name: stagePrefix + time.Now().UTC().Format("20060102t150405-") + strings.ToLower(rand.Text()[:6]), Backend: t.Backend()}
	itself, err := t.Simulate(ctx, s.Name)
	if err != nil {
		return Stage{}, err
	}
	if len(itself.Aliases) > 0 {
		return Stage{}, hint.Add(fmt.Errorf("rehearse with indices %s-*: an index template would put them behind an alias", s.Name),
			"give that template a pattern that is the daily indices' only")
	}
	s.Alias, s.Template, s.Index, s.Pattern, s.Replicas = s.Name, s.Name, s.Name+"-{date}", s.Name+"-*", 0
	settings := maps.Clone(like.Settings)
	maps.Copy(settings, map[string]string{"index.number_of_replicas": "0", "index.auto_expand_replicas": "false"})
	template := map[string]any{
		"index_patterns": []string{s.Pattern}, "priority": math.MaxInt32, "_meta": map[string]any{"made_by": stageMark},
		"template": map[string]any{"settings": settings, "mappings": like.Mappings, "aliases": map[string]any{s.Name: map[string]any{}}},
	}
	err = t.Ask(ctx, http.MethodPut, "/_index_template/"+url.PathEscape(s.Name), template, nil)
	if err == nil {
		return s, nil
	}
	err = fmt.Errorf("write index template %s: %w", s.Name, err)
	if _, refused := errors.AsType[*cluster.Error](err); !refused { // the cluster may have written it, or may be about to
		err = errors.Join(err, StrikeStage(ctx, t, s.Name))
	}
	return Stage{}, err
}

// strikeTime is how long a stage may take to go.
const strikeTime = time.Minute

// StrikeStage removes a stage, also when ctx has ended: its indices, then its template,
// and then what was still under way until the cluster had removed that: it does such
// things one after the other.
func StrikeStage(ctx context.Context, t *target.Target, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), strikeTime)
	defer cancel()
	err := dropIndices(ctx, t, name)
	if err == nil {
		err = t.Ask(ctx, http.MethodDelete, "/_index_template/"+url.PathEscape(name), nil, nil)
		if cluster.TypeOf(err) == "index_template_missing_exception" {
			err = nil
		}
	}
	if err == nil {
		err = dropIndices(ctx, t, name)
	}
	return hint.Add(err, fmt.Sprintf("remove it by hand: DELETE /%s-YYYY-MM-DD for each of its days, and DELETE /_index_template/%s", name, name))
}

func dropIndices(ctx context.Context, t *target.Target, name string) error {
	names, err := indicesOf(ctx, t, name)
	errs := []error{err}
	for _, index := range names {
		if err := t.Drop(ctx, index); err != nil && !target.IsGone(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// indicesOf lists the indices that are named as a stage's days are.
func indicesOf(ctx context.Context, t *target.Target, name string) (names []string, err error) {
	var rows []struct{ Index string }
	if err := t.Ask(ctx, http.MethodGet, "/_cat/indices/"+name+"-*?format=json&h=index", nil, &rows); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if _, err := node.ParseDay(strings.TrimPrefix(row.Index, name+"-")); err == nil {
			names = append(names, row.Index)
		}
	}
	return names, nil
}

// Stages lists the stages that are there: of a rehearsal that runs, or that was killed.
// What only has such a name is none.
func Stages(ctx context.Context, t *target.Target) (names []string, err error) {
	var answer struct {
		Templates []struct {
			Name     string
			Template struct {
				Meta struct {
					MadeBy string `json:"made_by"`
				} `json:"_meta"`
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	// A pattern that fits none is a 404, which looks like that of a proxy.
	if err := t.Ask(ctx, http.MethodGet, "/_index_template", nil, &answer); err != nil {
		return nil, err
	}
	for _, one := range answer.Templates {
		if strings.HasPrefix(one.Name, stagePrefix) && one.Template.Meta.MadeBy == stageMark {
			names = append(names, one.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// StageAge is how long ago a stage was raised, by its name and this machine's clock.
func StageAge(name string) time.Duration {
	at, _, _ := strings.Cut(strings.TrimPrefix(name, stagePrefix), "-")
	raised, err := time.Parse("20060102t150405", at)
	if err != nil {
		return 0
	}
	return time.Since(raised)
}
