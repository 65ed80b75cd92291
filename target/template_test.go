package target

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// bootstrap is the template that the backend's own bootstrap wrote, as the
// server gives it back.
func (b bed) bootstrap() string {
	return fmt.Sprintf(`{"index_patterns":[%q],"composed_of":[],"template":{
		"settings":{"index":{"codec":"best_compression","number_of_shards":"1","number_of_replicas":"0"}},
		"mappings":{"_source":{"enabled":false},"dynamic":false,"properties":{
			"data":{"type":"keyword","index":false,"store":true,"doc_values":false},"timestamp":{"type":"date"}}},
		"aliases":{%q:{}}}}`, b.backend.Pattern, b.backend.Alias)
}

func (b bed) template() any {
	b.T.Helper()
	answer := b.Must(http.MethodGet, "/_index_template/"+b.backend.Template, "")
	return answer["index_templates"].([]any)[0].(map[string]any)["index_template"]
}

func TestEnsureTemplateWritesWhatTheBackendWrites(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		created, err := target.EnsureTemplate(t.Context())
		if err != nil || !created {
			t.Fatalf("created %v, %v", created, err)
		}
		var want any
		if err := json.Unmarshal([]byte(b.bootstrap()), &want); err != nil {
			t.Fatal(err)
		}
		if got := b.template(); !reflect.DeepEqual(got, want) {
			t.Errorf("template\n%v\nwant\n%v", got, want)
		}
		if err := target.CheckContract(t.Context(), today); err != nil {
			t.Error(err)
		}
	})
}

func TestEnsureTemplateNeverTouchesOne(t *testing.T) {
	b := oldest(t)
	b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, `{"index_patterns":["`+b.backend.Pattern+`"],"priority":7}`)
	before := b.template()
	created, err := b.open().EnsureTemplate(t.Context())
	if after := b.template(); created || err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("created %v, %v; template %v, was %v", created, err, after, before)
	}
}

func TestEnsureTemplateRefused(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		config := b.config()
		config.Backend.Codec = "zstd"
		created, err := openTarget(t, config).EnsureTemplate(t.Context())
		wantRefusal(t, err, "index.codec", "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC=best_compression")
		if created {
			t.Error("created beside an error")
		}
		b.Must(http.MethodPut, "/_index_template/"+b.backend.Template+"-other", `{"index_patterns":["`+b.backend.Alias+`*"]}`)
		_, err = b.open().EnsureTemplate(t.Context())
		wantRefusal(t, err, "priority", "the same priority")
		if status, _ := b.Call(http.MethodGet, "/_index_template/"+b.backend.Template, ""); status != http.StatusNotFound {
			t.Errorf("the template is there, status %d", status)
		}
	})
}

// mapped is an index body, or the inside of a template, with these fields.
func mapped(properties string) string {
	return `"mappings":{"dynamic":false,"properties":{` + properties + `}}`
}

func (b bed) putTemplate(properties string) {
	b.T.Helper()
	b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(
		`{"index_patterns":[%q],"template":{"settings":{"number_of_shards":1,"number_of_replicas":0},"aliases":{%q:{}},%s}}`,
		b.backend.Pattern, b.backend.Alias, mapped(properties)))
}

const dateField = `"timestamp":{"type":"date"}`

func TestCheckContractRefusesMappings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ properties, problem string }{
		"1.1.x with doc values":  {`"data":{"type":"keyword","index":false,"store":true},` + dateField, "doc_values=true"},
		"doc values as text":     {`"data":{"type":"keyword","index":"false","store":"true","doc_values":"true"},` + dateField, "doc_values=true"},
		"not stored":             {`"data":{"type":"keyword","index":false,"doc_values":false},` + dateField, "store=false"},
		"text that is indexed":   {`"data":{"type":"text","store":true},` + dateField, "index=true"},
		"keyword that is":        {`"data":{"type":"keyword","store":true,"doc_values":false},` + dateField, "index=true"},
		"ignore_above":           {`"data":{"type":"keyword","index":false,"store":true,"doc_values":false,"ignore_above":256},` + dateField, "ignore_above=256"},
		"normalizer":             {`"data":{"type":"keyword","index":false,"store":true,"doc_values":false,"normalizer":"lowercase"},` + dateField, "normalizer"},
		"second field":           {`"data":{"type":"text","index":false,"store":true,"fields":{"raw":{"type":"keyword"}}},` + dateField, "fields"},
		"binary, not stored":     {`"data":{"type":"binary"},` + dateField, "store=false"},
		"no data":                {dateField, "no field data"},
		"data is a number":       {`"data":{"type":"long","store":true},` + dateField, `type "long"`},
		"data is an object":      {`"data":{"properties":{"x":{"type":"keyword"}}},` + dateField, `type ""`},
		"no timestamp":           {`"data":{"type":"binary","store":true}`, "no field timestamp"},
		"timestamp of no values": {`"data":{"type":"binary","store":true},"timestamp":{"type":"date","doc_values":false}`, "field timestamp keeps no doc values"},
		"timestamp is a keyword": {`"data":{"type":"binary","store":true},"timestamp":{"type":"keyword"}`, "no field timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			target := b.open()
			b.putTemplate(test.properties)
			wantRefusal(t, target.CheckContract(t.Context(), today), test.problem, "cannot be changed in place")
		})
	}
}

// TestCheckContractRefusesAnOldIndex: the template was put right, an index of
// before is still there.
func TestCheckContractRefusesAnOldIndex(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		b.putTemplate(`"data":{"type":"keyword","index":false,"store":true},` + dateField)
		b.Must(http.MethodPut, "/"+b.index(), "")
		b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, b.bootstrap())
		err := target.CheckContract(t.Context(), today+1)
		wantRefusal(t, err, "index "+b.index(), "cannot be changed in place")
		wantRefusal(t, err, "doc_values=true", "")
	})
}

// TestAcceptedMappingsHoldLongValues writes to each variant what Lucene's limit
// for terms and doc values would refuse, and more.
func TestAcceptedMappingsHoldLongValues(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"1.2.0":                  `{"type":"keyword","index":false,"store":true,"doc_values":false}`,
		"flags as text":          `{"type":"keyword","index":"false","store":"true","doc_values":"false"}`,
		"text":                   `{"type":"text","index":false,"store":true}`,
		"binary":                 `{"type":"binary","store":true}`,
		"binary with doc values": `{"type":"binary","store":true,"doc_values":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, b bed) {
				target := b.open()
				b.putTemplate(`"data":` + data + `,` + dateField)
				if err := target.CheckContract(t.Context(), today); err != nil {
					t.Fatal(err)
				}
				index := b.loading(target)
				if err := target.CheckContract(t.Context(), today); err != nil {
					t.Fatal(err)
				}
				values := map[string][]byte{"small": payload(t, "", 0), "long": payload(t, "", 33<<10), "huge": payload(t, "", 1<<20)}
				batch := NewBatch(1 << 20)
				for id, value := range values {
					appendTo(t, batch, node.Node{ID: []byte(id), Data: value, Micros: noon})
				}
				got, err := target.Write(t.Context(), index, batch)
				wantFates(t, got, err, node.Fates{node.Stored: 3})
				for id, value := range values {
					if sight := b.mustRead(target, id); string(sight.Data) != string(value) {
						t.Errorf("%s: %d bytes came back of %d", id, len(sight.Data), len(value))
					}
				}
			})
		})
	}
}

func TestCheckContractRefusesAliases(t *testing.T) {
	t.Parallel()
	t.Run("that are an index", func(t *testing.T) {
		b := oldest(t)
		target := b.open()
		b.Must(http.MethodPut, "/"+b.backend.Alias, "")
		t.Cleanup(func() { b.Must(http.MethodDelete, "/"+b.backend.Alias, "") })
		wantRefusal(t, target.CheckContract(t.Context(), today), "is an index, not an alias", "_reindex")
	})
	t.Run("that no template adds", func(t *testing.T) {
		b := oldest(t)
		target := b.open()
		wantRefusal(t, target.CheckContract(t.Context(), today), "would not be behind alias", string(NotBehind))
		b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, `{"index_patterns":["`+b.backend.Pattern+`"]}`)
		wantRefusal(t, target.CheckContract(t.Context(), today), "would not be behind alias", string(NotBehind))
	})
	for name, c := range map[string]struct{ settings, alias, text, remedy string }{
		"write index":    {"{}", `{"is_write_index":true}`, "could not be created", "is_write_index"},
		"refused writes": {`{"index.blocks.write":true}`, "{}", "it would refuse writes (index.blocks.write)", "take the block out"},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(
				`{"index_patterns":[%q],"template":{"settings":%s,"aliases":{%q:%s},%s}}`, b.backend.Pattern, c.settings, b.backend.Alias, c.alias, mapped(`"data":{"type":"binary","store":true},`+dateField)))
			wantRefusal(t, b.open().CheckContract(t.Context(), today), c.text, c.remedy)
		})
	}
	t.Run("as a daily index", func(t *testing.T) {
		b := oldest(t)
		target := b.open()
		b.Must(http.MethodPut, "/"+b.index()+"-fixed", `{"aliases":{"`+b.index()+`":{}}}`)
		_, _, err := target.Daily(t.Context(), today)
		wantRefusal(t, err, "it is an alias", string(NotConcrete))
	})
}
