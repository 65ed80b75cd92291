package target

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// TestUnfitIndices: what would hide documents from Sentry, or change them, is
// seen at the index and at the template, with the same words.
func TestUnfitIndices(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ settings, alias, text, remedy string }{
		"filter":           {alias: `{"filter":{"term":{"_id":"x"}}}`, text: "has a filter for it", remedy: "neither a filter"},
		"search routing":   {alias: `{"search_routing":"x"}`, text: "has a routing for it", remedy: "nor a routing"},
		"routing":          {alias: `{"routing":"x"}`, text: "has a routing for it", remedy: "nor a routing"},
		"default pipeline": {settings: `"index.default_pipeline":"p"`, text: "index.default_pipeline=p", remedy: "_none"},
		"final pipeline":   {settings: `"index.final_pipeline":"p"`, text: "index.final_pipeline=p", remedy: "_none"},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			target := b.open()
			mappings := `"mappings":{"properties":{"data":{"type":"keyword","index":false,"store":true,"doc_values":false},"timestamp":{"type":"date"}}}`
			like := fmt.Sprintf(`{"settings":{%s},%s,"aliases":{%q:%s}}`, test.settings, mappings, b.backend.Alias, cmp.Or(test.alias, "{}"))
			b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(`{"index_patterns":[%q],"template":%s}`, b.backend.Pattern, like))
			wantRefusal(t, target.CheckDays(t.Context(), []node.Day{today}), test.text, test.remedy)
			_, err := target.Preview(t.Context(), today)
			wantRefusal(t, err, test.text, test.remedy)
			b.Must(http.MethodPut, "/"+b.index(), "")
			wantRefusal(t, target.CheckDays(t.Context(), []node.Day{today}), test.text, test.remedy)
			wantRefusal(t, target.CheckContract(t.Context()), test.text, test.remedy)
			if index := b.daily(target); !strings.Contains(index.Problem(), test.text) || !index.Behind {
				t.Errorf("problem %q", index.Problem())
			}
		})
	}
}

// TestUnfitByState are indices that became what nothing may be written to.
func TestUnfitByState(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state        func(b bed)
		text, remedy string
	}{
		"closed": {func(b bed) { b.Must(http.MethodPost, "/"+b.index()+"/_close", "") }, "it is closed", "_open"},
		"outside the alias": {func(b bed) {
			b.Must(http.MethodDelete, "/"+b.index()+"/_alias/"+b.backend.Alias, "")
		}, "is not behind alias", "add it to the alias"},
		"foreign mapping": {func(b bed) {
			b.Must(http.MethodDelete, "/"+b.index(), "")
			b.Must(http.MethodDelete, "/_index_template/"+b.backend.Template, "")
			b.Must(http.MethodPut, "/"+b.index(), fmt.Sprintf(`{"aliases":{%q:{}},"mappings":{"properties":{"data":{"type":"text"}}}}`, b.backend.Alias))
		}, "no field timestamp", "reindex or remove"},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			target := b.open()
			if problem := b.plain(target).Problem(); problem != "" {
				t.Fatal(problem)
			}
			test.state(b)
			wantRefusal(t, target.CheckDays(t.Context(), []node.Day{today}), test.text, test.remedy)
			existing, err := target.AllHoldings(t.Context())
			if err != nil || len(existing) != 1 || !strings.Contains(existing[0].Problem(), test.text) || existing[0].Remedy() == "" {
				t.Errorf("%+v, %v", existing, err)
			}
		})
	}
}

// TestTemplateForSomeDays: a second template wins for two of five days.
func TestTemplateForSomeDays(t *testing.T) {
	b := oldest(t)
	target := b.open()
	if _, err := target.EnsureTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}
	days := []node.Day{today - 2, today - 1, today, today + 1, today + 2}
	if err := target.CheckDays(t.Context(), days); err != nil {
		t.Fatal(err)
	}
	b.Must(http.MethodPut, "/_index_template/"+b.backend.Template+"-old", fmt.Sprintf(
		`{"index_patterns":[%q,%q],"priority":7,"template":{"aliases":{%q:{}},"mappings":{"properties":{"data":{"type":"keyword"},"timestamp":{"type":"date"}}}}}`,
		b.backend.IndexOf(days[0]), b.backend.IndexOf(days[1]), b.backend.Alias))
	text := fmt.Sprintf("index templates for %s and 1 more up to %s: field data is not stored", b.backend.IndexOf(days[0]), b.backend.IndexOf(days[1]))
	wantRefusal(t, target.CheckDays(t.Context(), days), text, "make the template right")
	_, err := target.Preview(t.Context(), days...)
	wantRefusal(t, err, text, "make the template right")
	if err := target.CheckDays(t.Context(), days[2:]); err != nil {
		t.Error(err)
	}
	b.Must(http.MethodPut, "/"+b.backend.Template+"-fixed", fmt.Sprintf(`{"aliases":{%q:{}}}`, b.index()))
	wantRefusal(t, target.CheckDays(t.Context(), days[2:]), "it is an alias", string(NotConcrete))
}
