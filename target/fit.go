package target

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// description is an index as the cluster describes it, or one as its templates
// would make it.
type description struct {
	Settings map[string]any
	Mappings json.RawMessage
	Aliases  map[string]aliasRules
}

// aliasRules are what an alias changes for those who ask through it.
type aliasRules struct {
	Filter        json.RawMessage
	Routing       string
	IndexRouting  string `json:"index_routing"`
	SearchRouting string `json:"search_routing"`
	WriteIndex    bool   `json:"is_write_index"`
}

// problem is why an index may not be written to, and what to do about it.
type problem struct {
	text, remedy string
	mistake      cluster.Mistake // in place of a remedy
}

const (
	mappingRemedy = "such a mapping cannot be changed in place: make the template right (data: keyword, index=false, store=true, doc_values=false; timestamp: date), " +
		"reindex or remove the daily indices that have the old one, then run the same command again"
	aliasRemedy = "give the alias neither a filter nor a routing, in the index (POST /_aliases) and in the template"
)

// unfit says why an index breaks the reader's contract, or why it cannot be
// written to as Sentry's writer would. It holds for indices that exist and for
// those that templates would make.
func (b Backend) unfit(d description, settings map[string]string) problem {
	if settings["index.verified_before_close"] == "true" {
		return problem{text: "it is closed", remedy: cluster.OpenIt}
	}
	if text := mappingProblem(d.Mappings); text != "" {
		return problem{text: text, remedy: mappingRemedy}
	}
	if text := d.Aliases[b.Alias].problem(); text != "" {
		return problem{text: fmt.Sprintf("alias %s has %s for it: Sentry would not see every document", b.Alias, text), remedy: aliasRemedy}
	}
	for _, name := range []string{"index.default_pipeline", "index.final_pipeline"} {
		if pipeline := cmp.Or(settings[name], "_none"); pipeline != "_none" {
			return problem{text: fmt.Sprintf("%s=%s may change or drop every document", name, pipeline), remedy: cluster.NoPipelines}
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

// refuse is a problem as an error about a subject, nil without one.
func (p problem) refuse(subject string) error {
	if p.text == "" {
		return nil
	}
	err := fmt.Errorf("%s: %s", subject, p.text)
	if p.mistake != "" {
		return cluster.Mistaken(p.mistake, err)
	}
	return hint.Add(err, p.remedy)
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

// blocks names the blocks that keep writes out of an index.
func blocks(settings map[string]string) (names []string) {
	for _, name := range []string{"read_only", "read_only_allow_delete", "write"} {
		if settings["index.blocks."+name] == "true" {
			names = append(names, "index.blocks."+name)
		}
	}
	return names
}

// flat are nested settings as dotted keys with string values.
func flat(nested map[string]any) map[string]string {
	found := make(map[string]string)
	for key, value := range nested {
		inner, ok := value.(map[string]any)
		if !ok {
			found[key] = fmt.Sprint(value)
		}
		for name, value := range flat(inner) {
			found[key+"."+name] = value
		}
	}
	return found
}
