package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// templates are the index templates of the cluster, and the backend's own among them.
type templates struct {
	*cluster.Cluster
	backend Backend
}

// template is the body of the composable index template as the backend's
// bootstrap writes it (version 1.2.0).
func (b Backend) template() map[string]any {
	return map[string]any{
		"index_patterns": []string{b.Pattern},
		"template": map[string]any{
			"settings": map[string]any{"index": map[string]any{
				"codec": b.Codec, "number_of_shards": b.Shards, "number_of_replicas": b.Replicas,
			}},
			"mappings": map[string]any{
				"_source": map[string]any{"enabled": false},
				"dynamic": false,
				"properties": map[string]any{
					"data":      map[string]any{"type": "keyword", "index": false, "store": true, "doc_values": false},
					"timestamp": map[string]any{"type": "date"},
				},
			},
			"aliases": map[string]any{b.Alias: map[string]any{}},
		},
	}
}

// EnsureTemplate writes the index template when there is none of its name, and
// reports whether it did. An existing one is never touched, also if it comes
// about at this moment.
func (t *templates) EnsureTemplate(ctx context.Context) (created bool, err error) {
	template, err := t.unwritten(ctx)
	if template == nil || err != nil {
		return false, err
	}
	err = t.Ask(ctx, http.MethodPut, "/_index_template/"+url.PathEscape(t.backend.Template)+"?create=true", template, nil)
	if err == nil {
		return true, nil
	}
	if left, lookErr := t.unwritten(ctx); left == nil && lookErr == nil {
		return false, nil // Sentry was faster, or our own request whose answer was lost
	}
	return false, templateHint(fmt.Errorf("write index template %s: %w", t.backend.Template, err))
}

// unwritten is the template that EnsureTemplate would write, nil where there is one.
func (t *templates) unwritten(ctx context.Context) (template map[string]any, err error) {
	name := t.backend.Template
	err = t.Ask(ctx, http.MethodGet, "/_index_template/"+url.PathEscape(name), nil, nil)
	switch {
	case cluster.TypeOf(err) == "resource_not_found_exception":
		return t.backend.template(), nil
	case err != nil:
		return nil, fmt.Errorf("read index template %s: %w", name, err)
	}
	return nil, nil
}

func templateHint(err error) error {
	refused, ok := errors.AsType[*cluster.Error](err)
	if !ok {
		return err
	}
	switch {
	case strings.Contains(refused.Reason, "index.codec"):
		return hint.Add(err, "this server lacks that codec: set SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC=best_compression here and in Sentry, or install the plugin opensearch-custom-codecs on every node")
	case strings.Contains(refused.Reason, "priority"):
		return hint.Add(err, "another index template matches the same names at the same priority: give one of them a higher priority, or set SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN so that they do not overlap")
	case refused.Type == "invalid_index_template_exception":
		return hint.Add(err, "the backend's own bootstrap would fail with it as well: correct the SENTRY_NODESTORE_OPENSEARCH_* variable that it is about, here and in Sentry")
	}
	return err
}

// Foreseen is what an index would get from all the templates that match it.
type Foreseen struct {
	Settings    map[string]string // flat, such as index.codec
	Mappings    json.RawMessage
	Aliases     []string // that it would be behind
	Overlapping []string // templates that match too and lose

	problem problem
}

// Simulate tries the creation of an index, which changes nothing.
func (t *templates) Simulate(ctx context.Context, index string) (Foreseen, error) {
	return t.simulate(ctx, index, nil)
}

// Foresee is Simulate for a day's index, also where EnsureTemplate has not
// written the template yet.
func (t *templates) Foresee(ctx context.Context, day node.Day) (Foreseen, error) {
	template, err := t.unwritten(ctx)
	if err != nil {
		return Foreseen{}, err
	}
	return t.simulate(ctx, t.backend.IndexOf(day), template)
}

func (t *templates) simulate(ctx context.Context, index string, template map[string]any) (found Foreseen, err error) {
	var answer struct {
		Template    description
		Overlapping []struct{ Name string }
	}
	var body any
	if template != nil {
		body = template
	}
	err = t.Ask(ctx, http.MethodPost, "/_index_template/_simulate_index/"+url.PathEscape(index), body, &answer)
	if err != nil {
		return found, templateHint(fmt.Errorf("simulate the creation of index %s: %w", index, err))
	}
	found.Settings, found.Mappings = flat(answer.Template.Settings), answer.Template.Mappings
	found.Aliases = slices.Sorted(maps.Keys(answer.Template.Aliases))
	for _, other := range answer.Overlapping {
		found.Overlapping = append(found.Overlapping, other.Name)
	}
	b := t.backend
	found.problem = b.unfit(answer.Template, found.Settings)
	switch rules, ok := answer.Template.Aliases[b.Alias]; {
	case !ok:
		found.problem = problem{
			text:    fmt.Sprintf("it would not be behind alias %s: no index template that matches its name adds it", b.Alias),
			mistake: NotBehind,
		}
	case rules.WriteIndex:
		found.problem = problem{
			text:   fmt.Sprintf("it would be the write index of alias %s, which can have only one: the second daily index could not be created", b.Alias),
			remedy: "take is_write_index out of the index template's alias",
		}
	case len(blocks(found.Settings)) > 0:
		found.problem = problem{
			text:   "it would refuse writes (" + strings.Join(blocks(found.Settings), ", ") + ")",
			remedy: "take the block out of the index template",
		}
	}
	return found, nil
}
