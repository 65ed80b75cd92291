package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

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
func (t *Target) EnsureTemplate(ctx context.Context) (created bool, err error) {
	if exists, err := t.templateExists(ctx); exists || err != nil {
		return false, err
	}
	b := t.config.Backend
	err = t.ask(ctx, http.MethodPut, "/_index_template/"+url.PathEscape(b.Template)+"?create=true", b.template(), nil)
	if refused, ok := errors.AsType[*Error](err); ok && strings.Contains(refused.Reason, "already exists") {
		return false, nil // Sentry was faster, or our own request whose answer was lost
	}
	if err != nil {
		return false, t.templateHint(fmt.Errorf("write index template %s: %w", b.Template, err))
	}
	return true, nil
}

func (t *Target) templateExists(ctx context.Context) (bool, error) {
	name := t.config.Backend.Template
	err := t.ask(ctx, http.MethodGet, "/_index_template/"+url.PathEscape(name), nil, nil)
	if typeOf(err) == "resource_not_found_exception" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read index template %s: %w", name, err)
	}
	return true, nil
}

func (t *Target) templateHint(err error) error {
	refused, ok := errors.AsType[*Error](err)
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

// foreseen is what an index would get from all the templates that match it.
type foreseen struct {
	settings    map[string]string // flat, such as index.codec
	mappings    json.RawMessage
	aliases     map[string]aliasRules
	overlapping []string // templates that match too and lose
	problem     problem
}

// simulate tries the creation of an index, with a template that is not written
// yet if there is one.
func (t *Target) simulate(ctx context.Context, index string, template any) (foreseen, error) {
	var answer struct {
		Template    description
		Overlapping []struct{ Name string }
	}
	err := t.ask(ctx, http.MethodPost, "/_index_template/_simulate_index/"+url.PathEscape(index), template, &answer)
	if err != nil {
		return foreseen{}, t.templateHint(fmt.Errorf("simulate the creation of index %s: %w", index, err))
	}
	found := foreseen{mappings: answer.Template.Mappings, aliases: answer.Template.Aliases}
	for _, other := range answer.Overlapping {
		found.overlapping = append(found.overlapping, other.Name)
	}
	if found.settings, err = flatSettings(answer.Template.Settings); err != nil {
		return foreseen{}, fmt.Errorf("simulate the creation of index %s: %w", index, err)
	}
	b := t.config.Backend
	found.problem = b.unfit(answer.Template, found.settings)
	switch rules, ok := found.aliases[b.Alias]; {
	case !ok:
		found.problem = problem{
			fmt.Sprintf("it would not be behind alias %s: no index template that matches its name adds it", b.Alias),
			"check --alias, --template, --index and SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN against Sentry's configuration",
		}
	case rules.WriteIndex:
		found.problem = problem{
			fmt.Sprintf("it would be the write index of alias %s, which can have only one: the second daily index could not be created", b.Alias),
			"take is_write_index out of the index template's alias",
		}
	case len(blocks(found.settings)) > 0:
		found.problem = problem{"it would refuse writes (" + strings.Join(blocks(found.settings), ", ") + ")", "take the block out of the index template"}
	}
	return found, nil
}

// field is what a mapping says of one field; pointers tell "not said" apart.
type field struct {
	Type        string `json:"type"`
	Store       *bool  `json:"store"`
	Index       *bool  `json:"index"`
	DocValues   *bool  `json:"doc_values"`
	IgnoreAbove *int   `json:"ignore_above"`
	Normalizer  string `json:"normalizer"`
	Fields      any    `json:"fields"`
}

// mappingProblem says why a mapping could not hold or give back a long value,
// or "". What counts is the effective mapping, not which version wrote it:
// keyword, text and binary variants are all in the field.
func mappingProblem(mappings json.RawMessage) string {
	var mapping struct {
		Properties map[string]field `json:"properties"`
	}
	if len(mappings) > 0 {
		if err := json.Unmarshal(mappings, &mapping); err != nil {
			return "its mapping cannot be read: " + err.Error()
		}
	}
	data, ok := mapping.Properties["data"]
	if !ok {
		return "its mapping has no field data"
	}
	switch timestamp := mapping.Properties["timestamp"]; {
	case timestamp.Type != "date":
		return "its mapping has no field timestamp of type date"
	case timestamp.DocValues != nil && !*timestamp.DocValues:
		return "field timestamp keeps no doc values (doc_values=false): rows and documents could not be compared"
	}
	return data.problem()
}

func (f field) problem() string {
	is := func(flag *bool, otherwise bool) bool {
		if flag == nil {
			return otherwise
		}
		return *flag
	}
	switch {
	case f.Type != "keyword" && f.Type != "text" && f.Type != "binary":
		return fmt.Sprintf("field data is of type %q", f.Type)
	case !is(f.Store, false):
		return "field data is not stored (store=false): Sentry could not read it back"
	case f.Type == "keyword" && is(f.DocValues, true):
		return "field data keeps doc values (doc_values=true): every value over 32,766 bytes would be refused"
	case f.Type != "binary" && is(f.Index, true):
		return "field data is indexed (index=true): long values would be refused"
	case f.IgnoreAbove != nil:
		return fmt.Sprintf("field data has ignore_above=%d: longer values would be dropped silently", *f.IgnoreAbove)
	case f.Normalizer != "":
		return fmt.Sprintf("field data has the normalizer %q: other bytes than Sentry's would be stored", f.Normalizer)
	case f.Fields != nil:
		return "field data has fields of its own (fields): they would index long values"
	}
	return ""
}
