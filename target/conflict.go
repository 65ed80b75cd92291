package target

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Copy is a document of an id, as a search sees it.
type Copy struct {
	Index   string
	ID      string
	Version int64
	Millis  int64 // the document's timestamp: milliseconds since 1970, as OpenSearch keeps it

	seqNo       int64
	primaryTerm int64
}

// maxLookup is how many documents one search returns at most: the server's
// default of index.max_result_window.
const maxLookup = 10_000

// Copies returns the documents that a search in the index or alias finds for
// the given ids, at most maxLookup of them: more is an error. It does not see
// what was written since the last refresh.
func (t *Target) Copies(ctx context.Context, index string, ids []string) ([]Copy, error) {
	return t.find(ctx, index, map[string]any{"ids": map[string]any{"values": ids}})
}

// find returns all documents that match, or an error.
func (t *Target) find(ctx context.Context, index string, query map[string]any) ([]Copy, error) {
	request := map[string]any{
		"query": query, "size": maxLookup, "track_total_hits": true, "_source": false, "version": true, "seq_no_primary_term": true,
		"docvalue_fields": []any{map[string]string{"field": "timestamp", "format": "epoch_millis"}},
	}
	var found struct {
		Hits struct {
			Total struct {
				Value int `json:"value"`
			} `json:"total"`
			Hits []hit `json:"hits"`
		} `json:"hits"`
	}
	if err := t.search(ctx, index, request, &found); err != nil {
		return nil, fmt.Errorf("look up documents: %w", err)
	}
	if found.Hits.Total.Value != len(found.Hits.Hits) {
		return nil, fmt.Errorf("look up documents of %s: %d of %d came", index, len(found.Hits.Hits), found.Hits.Total.Value)
	}
	copies := make([]Copy, 0, len(found.Hits.Hits))
	for _, h := range found.Hits.Hits {
		c, err := h.copy()
		if err != nil {
			return nil, fmt.Errorf("look up documents of %s: %w", index, err)
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// hit is a search's answer for one document.
type hit struct {
	Index       string `json:"_index"`
	ID          string `json:"_id"`
	Version     int64  `json:"_version"`
	SeqNo       int64  `json:"_seq_no"`
	PrimaryTerm int64  `json:"_primary_term"`
	Fields      struct {
		Timestamp []string `json:"timestamp"`
	} `json:"fields"`
}

func (h hit) copy() (Copy, error) {
	c := Copy{Index: h.Index, ID: h.ID, Version: h.Version, seqNo: h.SeqNo, primaryTerm: h.PrimaryTerm}
	if len(h.Fields.Timestamp) != 1 {
		return c, fmt.Errorf("document %q in %s has %d timestamps", h.ID, h.Index, len(h.Fields.Timestamp))
	}
	var err error
	c.Millis, err = strconv.ParseInt(h.Fields.Timestamp[0], 10, 64)
	return c, err
}

// resolve gives a fate to the nodes for which the index has a document that
// Sentry may have written: a newer one stays, the same is already there, and
// an older one is replaced if nobody changes it at this moment. It returns the
// items that have to be looked at again.
func (d *delivery) resolve(ctx context.Context, g group, conflicts []int) (contested []int, err error) {
	if len(conflicts) == 0 {
		return nil, nil
	}
	if err := d.target.Refresh(ctx, d.index.Name); err != nil {
		return nil, err
	}
	for start := 0; start < len(conflicts); start += maxLookup {
		part := conflicts[start:min(start+maxLookup, len(conflicts))]
		again, err := d.compare(ctx, g, part)
		if err != nil {
			return nil, err
		}
		contested = append(contested, again...)
	}
	return contested, nil
}

func (d *delivery) compare(ctx context.Context, g group, conflicts []int) (contested []int, err error) {
	ids := make([]string, len(conflicts))
	for k, i := range conflicts {
		ids[k] = d.batch.id(i)
	}
	copies, err := d.target.Copies(ctx, d.index.Name, ids)
	if err != nil {
		return nil, err
	}
	there := make(map[string]Copy, len(copies))
	for _, c := range copies {
		there[c.ID] = c
	}
	var older []int
	for k, i := range conflicts {
		found, ok := there[ids[k]]
		millis := node.Millis(d.batch.items[i].micros)
		switch {
		case !ok: // removed since the conflict: nobody but Sentry does that
			d.outcome.Fates[node.Vanished]++
		case found.Millis > millis, d.index.writtenBySentry(found):
			d.outcome.Fates[node.Superseded]++
		case found.Millis == millis && g.uncertain:
			d.outcome.Fates[node.Stored]++
		case found.Millis == millis:
			d.outcome.Fates[node.AlreadyThere]++
		default:
			older = append(older, i)
		}
	}
	return d.replace(ctx, older, there)
}

// replace overwrites older documents, each only if it is still the one that
// was looked at.
func (d *delivery) replace(ctx context.Context, older []int, there map[string]Copy) (contested []int, err error) {
	if len(older) == 0 {
		return nil, nil
	}
	var body []byte
	for _, i := range older {
		id := d.batch.id(i)
		body = append(body, `{"index":{"_id":`...)
		body = appendString(body, []byte(id))
		body = fmt.Appendf(body, `,"if_seq_no":%d,"if_primary_term":%d}}`+"\n", there[id].seqNo, there[id].primaryTerm)
		body = append(body, d.batch.document(i)...)
	}
	outcome, err := d.target.conditional(ctx, "/"+url.PathEscape(d.index.Name)+"/_bulk?filter_path=items", body, len(older))
	if err != nil {
		return nil, err
	}
	for k, done := range outcome {
		if !done {
			contested = append(contested, older[k])
			continue
		}
		d.outcome.Fates[node.Stored]++
		d.outcome.Replaced++
	}
	return contested, nil
}

// writtenBySentry reports whether a document dates from after the switch.
// Sentry's word on an id is final then, whatever a row says.
func (i Index) writtenBySentry(c Copy) bool {
	return i.SwitchedAt != 0 && c.Millis >= node.Millis(i.SwitchedAt)
}
