package target

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Sight is what Sentry sees of an id.
type Sight struct {
	Copies int    // documents that its search finds; it reads only if there is exactly one
	Index  string // where the one is
	Millis int64  // its timestamp, milliseconds since 1970; -1 if it has none
	Data   []byte // the stored base64 text, nil if Sentry reads nothing
}

// Read asks for an id with the two requests of Sentry's reader: a search
// through the alias, with whatever filter or routing that has, and if it finds
// exactly one document, a get of its stored field data. Unlike Sentry it asks
// the primaries: what a replica lacks for a moment comes by itself, and must not
// be blamed on the copy.
func (d *documents) Read(ctx context.Context, id string) (Sight, error) {
	op := fmt.Sprintf("read %q through alias %s", id, d.alias)
	query := map[string]any{
		"query": map[string]any{"term": map[string]any{"_id": id}}, "track_total_hits": true,
		"_source": false, "docvalue_fields": cluster.MillisField(),
	}
	var found cluster.Hits[hit]
	err := d.Search(ctx, d.alias, query, &found)
	if IsGone(err) {
		return Sight{Millis: -1}, nil // there is no index yet
	}
	if err != nil {
		return Sight{}, fmt.Errorf("%s: %w", op, err)
	}
	sight := Sight{Copies: found.Total(), Millis: -1}
	if sight.Copies != 1 || len(found.Hits.Hits) != 1 {
		return sight, nil
	}
	one := found.Hits.Hits[0]
	sight.Index = one.Index
	if sight.Millis, err = one.Fields.Timestamp.Value(); err != nil {
		return Sight{}, fmt.Errorf("%s: decode the answer: %w", op, err)
	}
	var got struct{ Fields struct{ Data []string } }
	path := "/" + url.PathEscape(sight.Index) + "/_doc/" + url.PathEscape(id) + "?stored_fields=data&preference=_primary"
	err = d.Ask(ctx, http.MethodGet, path, nil, &got)
	if IsGone(err) || cluster.TypeOf(err) == cluster.DocumentMissing {
		return sight, nil
	}
	if err != nil {
		return Sight{}, fmt.Errorf("%s: %w", op, err)
	}
	if len(got.Fields.Data) > 0 {
		sight.Data = []byte(got.Fields.Data[0])
	}
	return sight, nil
}
