package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/opensearch-project/opensearch-go/v4/opensearchapi"
)

// Sight is what Sentry sees of an id.
type Sight struct {
	Copies int    // documents that its search finds; it reads only if there is exactly one
	Index  string // where the one is
	Millis int64  // its timestamp, milliseconds since 1970
	Data   []byte // the stored base64 text, nil if Sentry reads nothing
}

// Read asks for an id with the two requests of Sentry's reader: a search
// through the alias, and if that finds exactly one document, a get of its
// stored field data.
func (t *Target) Read(ctx context.Context, id string) (Sight, error) {
	op := fmt.Sprintf("read %q through alias %s", id, t.config.Backend.Alias)
	body, err := json.Marshal(map[string]any{"query": map[string]any{"term": map[string]any{"_id": id}}})
	if err != nil {
		return Sight{}, fmt.Errorf("%s: %w", op, err)
	}
	found, err := t.api.Search(ctx, &opensearchapi.SearchReq{Indices: []string{t.config.Backend.Alias}, Body: strings.NewReader(string(body))})
	if err != nil {
		return Sight{}, classify(op, err)
	}
	sight := Sight{Copies: found.Hits.Total.Value}
	if sight.Copies != 1 {
		return sight, nil
	}
	sight.Index = found.Hits.Hits[0].Index
	if copies, err := t.Copies(ctx, sight.Index, []string{id}); err == nil && len(copies) == 1 {
		sight.Millis = copies[0].Millis
	}
	got, err := t.api.Document.Get(ctx, opensearchapi.DocumentGetReq{
		Index: sight.Index, DocumentID: id, Params: opensearchapi.DocumentGetParams{StoredFields: []string{"data"}},
	})
	if err = classify(op, err); statusOf(err) == http.StatusNotFound {
		return sight, nil
	}
	if err != nil {
		return Sight{}, err
	}
	var fields struct {
		Data []string `json:"data"`
	}
	if len(got.Fields) > 0 {
		if err := json.Unmarshal(got.Fields, &fields); err != nil {
			return Sight{}, fmt.Errorf("%s: decode the answer: %w", op, err)
		}
	}
	if len(fields.Data) > 0 {
		sight.Data = []byte(fields.Data[0])
	}
	return sight, nil
}
