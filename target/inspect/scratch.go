package inspect

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// scratchPrefix begins the name of every scratch index.
const scratchPrefix = "nodestore-migrate-probe-"

// CreateScratch creates an index that is like the one of a day that is being
// loaded, but behind no alias: for measurements. A codec other than "" replaces the
// day's. The caller removes it.
func CreateScratch(ctx context.Context, t *target.Target, day node.Day, codec string) (target.Index, error) {
	like, err := t.Foresee(ctx, day)
	if err != nil {
		return target.Index{}, err
	}
	name := scratchPrefix + strings.ToLower(rand.Text()[:12])
	itself, err := t.Simulate(ctx, name)
	if err != nil {
		return target.Index{}, err
	}
	if len(itself.Aliases) > 0 {
		return target.Index{}, hint.Add(fmt.Errorf("create scratch index %s: an index template would put it behind an alias", name),
			"plan without the probe, or give the template a pattern that is the daily indices' only")
	}
	settings := maps.Clone(like.Settings)
	maps.Copy(settings, target.LoadingSettings())
	if codec != "" {
		settings["index.codec"] = codec
	}
	return target.Index{Name: name, Day: day}, t.PutIndex(ctx, name, map[string]any{"settings": settings, "mappings": like.Mappings})
}

// RemoveScratch removes a scratch index. One that is gone is not an error.
func RemoveScratch(ctx context.Context, t *target.Target, scratch target.Index) error {
	err := t.Drop(ctx, scratch.Name)
	if target.IsGone(err) {
		return nil
	}
	return hint.Add(err, "remove it by hand: DELETE /"+scratch.Name)
}

// Scratches lists the scratch indices that are there: a plan's that is being
// made now, or that was killed.
func Scratches(ctx context.Context, t *target.Target) ([]string, error) {
	var rows []struct{ Index string }
	err := t.Ask(ctx, http.MethodGet, "/_cat/indices/"+scratchPrefix+"*?format=json&h=index", nil, &rows)
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
func StoreBytes(ctx context.Context, t *target.Target, name string) (bytes int64, err error) {
	var rows []struct {
		Kind string `json:"prirep"`
		Size string `json:"size"`
	}
	err = t.Ask(ctx, http.MethodGet, "/_cat/segments/"+name+"?format=json&bytes=b&h=prirep,size", nil, &rows)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if row.Kind != "p" {
			continue
		}
		size, err := strconv.ParseInt(row.Size, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("measure segments of %s: %w", name, err)
		}
		bytes += size
	}
	return bytes, nil
}
