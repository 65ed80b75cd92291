package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opensearch-project/opensearch-go/v4/opensearchapi"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
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
	b := t.config.Backend
	op := "read index template " + b.Template
	response, err := t.api.IndexTemplate.Exists(ctx, opensearchapi.IndexTemplateExistsReq{IndexTemplate: b.Template})
	switch {
	case response == nil:
		return false, classify(op, err)
	case response.StatusCode == http.StatusOK:
		return false, nil
	case response.StatusCode != http.StatusNotFound:
		return false, refusal(op, response.StatusCode, nil)
	}
	body, err := json.Marshal(b.template())
	if err != nil {
		return false, fmt.Errorf("write index template %s: %w", b.Template, err)
	}
	_, err = t.api.IndexTemplate.Create(ctx, opensearchapi.IndexTemplateCreateReq{
		IndexTemplate: b.Template, Body: strings.NewReader(string(body)),
		Params: opensearchapi.IndexTemplateCreateParams{Create: new(true)},
	})
	err = classify("write index template "+b.Template, err)
	if refused, ok := errors.AsType[*Error](err); ok && strings.Contains(refused.Reason, "already exists") {
		return false, nil // Sentry was faster, or our own request whose answer was lost
	}
	return err == nil, t.templateHint(err)
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

// CheckContract makes sure that what is written to any daily index can be held
// whole and read back by Sentry: the alias is one, an index of the given day
// would get a mapping that fits, and those that exist have one.
func (t *Target) CheckContract(ctx context.Context, day node.Day) error {
	existing, err := t.behindAlias(ctx)
	if err != nil {
		return err
	}
	b := t.config.Backend
	if err := t.checkEffectiveTemplate(ctx, b.IndexOf(day)); err != nil {
		return err
	}
	for _, index := range existing {
		if index.problem != "" {
			return hint.Add(fmt.Errorf("index %s behind alias %s: %s", index.Name, b.Alias, index.problem), mappingRemedy)
		}
	}
	return nil
}

const mappingRemedy = "such a mapping cannot be changed in place: make the template right (data: keyword, index=false, store=true, doc_values=false; timestamp: date), " +
	"reindex or remove the daily indices that have the old one, then run the same command again"

func (t *Target) checkEffectiveTemplate(ctx context.Context, index string) error {
	b := t.config.Backend
	effective, err := t.effective(ctx, index)
	if err != nil {
		return err
	}
	return effective.check(b, index)
}

// check makes sure that an index would be behind the alias and hold long values.
func (e effective) check(b Backend, index string) error {
	if _, ok := e.aliases[b.Alias]; !ok {
		return hint.Add(fmt.Errorf("index %s would not be behind alias %s: no index template that matches its name adds it", index, b.Alias),
			"check --alias, --template, --index and SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN against Sentry's configuration")
	}
	if problem := mappingProblem(e.mappings); problem != "" {
		return hint.Add(fmt.Errorf("index template for %s: %s", index, problem), mappingRemedy)
	}
	return nil
}

// effective is what an index would get from all the templates that match it.
type effective struct {
	settings map[string]string // flat, such as index.codec
	mappings json.RawMessage
	aliases  map[string]json.RawMessage
}

func (t *Target) effective(ctx context.Context, index string) (effective, error) {
	op := "simulate the creation of index " + index
	answer, err := t.api.IndexTemplate.SimulateIndex(ctx, opensearchapi.IndexTemplateSimulateIndexReq{Index: index})
	if err != nil {
		return effective{}, classify(op, err)
	}
	template := answer.Template
	result, err := newEffective(template.Settings, template.Mappings, template.Aliases)
	if err != nil {
		return effective{}, fmt.Errorf("%s: %w", op, err)
	}
	return result, nil
}

func newEffective(settings, mappings, aliases json.RawMessage) (e effective, err error) {
	e.mappings = mappings
	if e.settings, err = flatSettings(settings); err != nil {
		return effective{}, err
	}
	if len(aliases) > 0 {
		if err := json.Unmarshal(aliases, &e.aliases); err != nil {
			return effective{}, fmt.Errorf("decode aliases: %w", err)
		}
	}
	return e, nil
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
	if timestamp := mapping.Properties["timestamp"]; timestamp.Type != "date" {
		return "its mapping has no field timestamp of type date"
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
