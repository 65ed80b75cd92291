package target

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
)

func TestWatermarks(t *testing.T) {
	t.Parallel()
	const total = 1000 << 30
	for text, want := range map[string]int64{
		"85%": 150 << 30, "0.9": 100 << 30, "50gb": 50 << 30, "500mb": 500 << 20, "1.5TB": 1536 << 30, "4096b": 4096,
	} {
		mark, err := ParseWatermark(text)
		if free := mark.Free(total); err != nil || max(free-want, want-free) > 1 || mark.String() != text {
			t.Errorf("%s: %d free, %v; want %d", text, free, err, want)
		}
	}
	for _, text := range []string{"", "x%", "many", "gb"} {
		if _, err := ParseWatermark(text); err == nil {
			t.Errorf("%q is not a watermark", text)
		}
	}
}

func TestInspectCluster(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target, ctx := b.open(), t.Context()
		health, err := target.Health(ctx)
		if err != nil || health.DataNodes != 1 || health.Status == "" {
			t.Errorf("health %+v, %v", health, err)
		}
		disks, err := target.Disks(ctx, Limits{})
		if err != nil || len(disks) != 1 || !disks[0].Only || disks[0].Total <= disks[0].Available || disks[0].Used() <= 0 || disks[0].Used() >= 1 {
			t.Errorf("disks %+v, %v", disks, err)
		}
		limits, err := target.Limits(ctx)
		if err != nil || limits.ShardsPerNode != 1000 || limits.Low.String() != "85%" || limits.Enforced || limits.ReadOnly || limits.Allocation != "all" {
			t.Errorf("limits %+v, %v", limits, err)
		}
		access, err := target.Access(ctx)
		if err != nil || access.Secured {
			t.Errorf("access %+v, %v", access, err)
		}
	})
}

func TestPreviewWithoutATemplate(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		preview, err := b.open().Preview(t.Context(), today)
		if err != nil || preview.TemplateExists || preview.Codec != "best_compression" || preview.Shards != 1 || preview.Replicas != 0 {
			t.Errorf("%+v, %v", preview, err)
		}
		if status, _ := b.call(http.MethodGet, "/_index_template/"+b.backend.Template, ""); status != http.StatusNotFound {
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
			b.must(http.MethodPut, "/_index_template/"+b.backend.Template+"-other", fmt.Sprintf(`{"index_patterns":["%s*"],"priority":%d}`, b.backend.Template, priority))
		}
		other(0)
		_, err := b.open().Preview(t.Context(), today)
		wantRefusal(t, err, "same priority", "higher priority")

		other(5)
		_, err = b.open().Preview(t.Context(), today)
		wantRefusal(t, err, "would not be behind alias", "--alias")

		b.must(http.MethodDelete, "/_index_template/"+b.backend.Template+"-other", "")
		b.must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(
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

func TestExisting(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target, ctx := b.open(), t.Context()
		if found, err := target.Existing(ctx); err != nil || len(found) != 0 {
			t.Errorf("nothing there: %v, %v", found, err)
		}
		loading := b.loading(target)
		b.must(http.MethodPut, "/"+b.backend.Template+"-extra", "")
		b.must(http.MethodPut, "/"+b.backend.IndexOf(today+1), "")
		b.must(http.MethodPost, "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}}]}`, b.backend.IndexOf(today+1), b.backend.Alias))
		b.must(http.MethodPut, "/"+b.index()+"/_settings", `{"index.blocks.write":true}`)
		found, err := target.Existing(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range found {
			got = append(got, fmt.Sprint(strings.TrimPrefix(e.Name, b.backend.Template), " ", e.Daily, e.Behind, e.Origin != nil, e.Loading(), e.Blocks))
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

func TestScratch(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target, ctx := b.open(), t.Context()
		scratch, err := target.CreateScratch(ctx, today)
		if err != nil {
			t.Fatal(err)
		}
		outcome, err := target.Write(ctx, scratch, batchOf(t, Versioned, numbered(3)...))
		if err != nil || outcome.Fates.Sum() != 3 {
			t.Errorf("%+v, %v", outcome, err)
		}
		if err := target.Flush(ctx, scratch.Name); err != nil {
			t.Error(err)
		}
		if bytes, err := target.StoreBytes(ctx, scratch.Name); err != nil || bytes == 0 {
			t.Errorf("%d bytes, %v", bytes, err)
		}
		if found, err := target.Existing(ctx); err != nil || len(found) != 0 {
			t.Errorf("behind the alias: %v, %v", found, err)
		}
		if names, err := target.Scratches(ctx); err != nil || !slices.Contains(names, scratch.Name) {
			t.Errorf("scratches %q, %v", names, err)
		}
		for range 2 {
			if err := target.RemoveScratch(ctx, scratch); err != nil {
				t.Error(err)
			}
		}
		if status, _ := b.call(http.MethodGet, "/"+scratch.Name, ""); status != http.StatusNotFound {
			t.Error("the scratch index is still there")
		}
	})
}

// A cluster that refuses a monitoring API still answers the others.
func TestForbiddenClusterAPI(t *testing.T) {
	b := oldest(t)
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		if strings.HasPrefix(r.URL.Path, "/_cluster/") {
			return faulty.Fault{Status: http.StatusForbidden, Body: `{"error":{"type":"security_exception","reason":"no permissions for [cluster:monitor/health]"}}`}
		}
		return faulty.Fault{}
	})
	if _, err := target.Health(t.Context()); !IsForbidden(err) {
		t.Errorf("health: %v", err)
	}
	if _, err := target.Limits(t.Context()); !IsForbidden(err) {
		t.Errorf("limits: %v", err)
	}
	if _, err := target.Disks(t.Context(), Limits{}); err != nil {
		t.Errorf("disks: %v", err)
	}
}
