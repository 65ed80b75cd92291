package target

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
)

func TestPreviewWithoutATemplate(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		preview, err := b.open().Preview(t.Context(), today)
		if err != nil || preview.TemplateExists || preview.Codec != "best_compression" || preview.Shards != 1 || preview.Replicas != 0 {
			t.Errorf("%+v, %v", preview, err)
		}
		if status, _ := b.Call(http.MethodGet, "/_index_template/"+b.backend.Template, ""); status != http.StatusNotFound {
			t.Error("the template was written")
		}
		zstd := b
		zstd.backend.Codec = "zstd"
		_, err = zstd.open().Preview(t.Context(), today)
		wantRefusal(t, err, "index.codec", "lacks that codec")
	})
}

// TestPreviewBesideAnotherProcess has another process of the migration write the
// template between the two looks of this one.
func TestPreviewBesideAnotherProcess(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		written := false
		behind := b.through(func(r *http.Request, _ int) (none faulty.Fault) {
			if strings.Contains(r.URL.Path, "_simulate_index") && !written {
				written = true
				if _, err := b.open().EnsureTemplate(t.Context()); err != nil {
					t.Error(err)
				}
			}
			return none
		})
		preview, err := behind.Preview(t.Context(), today)
		if err != nil || !preview.TemplateExists || !written {
			t.Errorf("%+v, %v", preview, err)
		}
	})
}

func TestPreviewOfTemplates(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		other := func(priority int) {
			b.Must(http.MethodPut, "/_index_template/"+b.backend.Template+"-other", fmt.Sprintf(`{"index_patterns":["%s*"],"priority":%d}`, b.backend.Template, priority))
		}
		other(0)
		_, err := b.open().Preview(t.Context(), today)
		wantRefusal(t, err, "same priority", "higher priority")

		other(5)
		_, err = b.open().Preview(t.Context(), today)
		wantRefusal(t, err, "would not be behind alias", string(NotBehind))

		b.Must(http.MethodDelete, "/_index_template/"+b.backend.Template+"-other", "")
		b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(
			`{"index_patterns":[%q],"priority":9,"template":{"aliases":{%q:{}},"mappings":{"properties":{"data":{"type":"keyword","index":false,"store":true},"timestamp":{"type":"date"}}}}}`,
			b.backend.Pattern, b.backend.Alias))
		other(5)
		preview, err := b.open().Preview(t.Context(), today)
		wantRefusal(t, err, "doc_values=true", "cannot be changed in place")
		if !preview.TemplateExists || !slices.Equal(preview.Overlapping, []string{b.backend.Template + "-other"}) {
			t.Errorf("%+v", preview)
		}
	})
}

func TestAllHoldings(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target, ctx := b.open(), t.Context()
		if found, err := target.AllHoldings(ctx); err != nil || len(found) != 0 {
			t.Errorf("nothing there: %v, %v", found, err)
		}
		loading := b.loading(target)
		b.Must(http.MethodPut, "/"+b.backend.Template+"-extra", "")
		b.Must(http.MethodPut, "/"+b.backend.IndexOf(today+1), "")
		b.Must(http.MethodPost, "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}}]}`, b.backend.IndexOf(today+1), b.backend.Alias))
		b.Must(http.MethodPut, "/"+b.index()+"/_settings", `{"index.blocks.write":true}`)
		found, err := target.AllHoldings(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range found {
			got = append(got, fmt.Sprint(strings.TrimPrefix(e.Name, b.backend.Template), " ", e.Daily, e.Behind, e.Origin != nil, e.Loading(), e.Blocks()))
		}
		want := []string{
			"-" + loading.Day.String() + " true true true true [index.blocks.write]",
			"-" + (today + 1).String() + " true false false false []",
			"-extra false true false false []",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
