package target

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// scratchPrefix begins the name of every scratch index.
const scratchPrefix = "nodestore-migrate-probe-"

// CreateScratch creates an index that is like the one of a day that is being
// loaded, but behind no alias: for measurements. The caller removes it.
func (t *Target) CreateScratch(ctx context.Context, day node.Day) (Index, error) {
	exists, err := t.templateExists(ctx)
	if err != nil {
		return Index{}, err
	}
	like, _, err := t.foresee(ctx, day, exists)
	if err != nil {
		return Index{}, err
	}
	name := scratchPrefix + strings.ToLower(rand.Text()[:12])
	itself, err := t.simulate(ctx, name, nil)
	if err != nil {
		return Index{}, err
	}
	if len(itself.aliases) > 0 {
		return Index{}, hint.Add(fmt.Errorf("create scratch index %s: an index template would put it behind an alias", name),
			"plan without --probe, or give the template a pattern that is the daily indices' only")
	}
	settings := maps.Clone(like.settings)
	maps.Copy(settings, loadingSettings())
	return Index{Name: name, Day: day}, t.put(ctx, name, map[string]any{"settings": settings, "mappings": like.mappings})
}

// RemoveScratch removes a scratch index. One that is gone is not an error.
func (t *Target) RemoveScratch(ctx context.Context, scratch Index) error {
	err := t.Drop(ctx, scratch.Name)
	if IsGone(err) {
		return nil
	}
	return hint.Add(err, "remove it by hand: DELETE /"+scratch.Name)
}

// Scratches lists the scratch indices that are there: a plan's that is being
// made now, or that was killed.
func (t *Target) Scratches(ctx context.Context) ([]string, error) {
	var rows []catIndex
	err := t.ask(ctx, http.MethodGet, "/_cat/indices/"+scratchPrefix+"*?format=json&h=index", nil, &rows)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, row := range rows {
		names = append(names, row.Index)
	}
	return names, nil
}

// StoreBytes is what the primaries of an index take on disk. Flush it before.
// It adds up segments, because the size in an index's statistics may be ten
// seconds old.
func (t *Target) StoreBytes(ctx context.Context, name string) (bytes int64, err error) {
	var rows []struct {
		Kind string `json:"prirep"`
		Size string `json:"size"`
	}
	err = t.ask(ctx, http.MethodGet, "/_cat/segments/"+name+"?format=json&bytes=b&h=prirep,size", nil, &rows)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if row.Kind == "p" {
			bytes += number(row.Size)
		}
	}
	return bytes, nil
}
