package target

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
// the given ids. It does not see what was written since the last refresh.
func (t *Target) Copies(ctx context.Context, index string, ids []string) (copies []Copy, err error) {
	err = t.find(ctx, index, ofIDs(ids), collect(&copies))
	return copies, err
}

func collect(into *[]Copy) func([]Copy) error {
	return func(page []Copy) error {
		*into = append(*into, page...)
		return nil
	}
}

// find hands over all documents that match, at most maxLookup at a time. Pages
// follow each other by sequence number, which only grows when a document is
// written again: it may then come twice, but none is passed over.
func (t *Target) find(ctx context.Context, index string, query map[string]any, visit func([]Copy) error) error {
	page, whole, err := t.page(ctx, index, map[string]any{"query": query})
	for from := int64(0); err == nil && !whole; {
		if page, whole, err = t.page(ctx, index, map[string]any{
			"sort":  []any{map[string]string{"_seq_no": "asc"}},
			"query": map[string]any{"bool": map[string]any{"filter": []any{query, atLeast("_seq_no", from)}}},
		}); err != nil || whole {
			break
		}
		// Shards count alike, so the last number may have more documents.
		last := page[len(page)-1].seqNo
		page = slices.DeleteFunc(page, func(c Copy) bool { return c.seqNo == last })
		if len(page) == 0 {
			return fmt.Errorf("look up documents of %s: more than %d have the sequence number %d", index, maxLookup, last)
		}
		if err := visit(page); err != nil {
			return err
		}
		from = last
	}
	if err != nil {
		return fmt.Errorf("look up documents of %s: %w", index, err)
	}
	return visit(page)
}

func atLeast(field string, value int64) map[string]any {
	return map[string]any{"range": map[string]any{field: map[string]any{"gte": value}}}
}

// page returns the first documents that a request is about, and whether these are all.
func (t *Target) page(ctx context.Context, index string, request map[string]any) (copies []Copy, whole bool, err error) {
	maps.Copy(request, map[string]any{
		"size": maxLookup, "track_total_hits": true, "_source": false, "version": true, "seq_no_primary_term": true,
		"docvalue_fields": millisField(),
	})
	var found hits[hit]
	if err := t.search(ctx, index, request, &found); err != nil {
		return nil, false, err
	}
	if n := len(found.Hits.Hits); !found.whole() && n < maxLookup {
		return nil, false, fmt.Errorf("%d of %d came", n, found.total())
	}
	copies = make([]Copy, 0, len(found.Hits.Hits))
	for _, h := range found.Hits.Hits {
		c, err := h.copy()
		if err != nil {
			return nil, false, err
		}
		copies = append(copies, c)
	}
	return copies, found.whole(), nil
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
	err = d.target.Refresh(ctx, d.index.Name)
	if IsGone(err) {
		return conflicts, d.reload(ctx)
	}
	if err != nil {
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
	if IsGone(err) {
		return conflicts, d.reload(ctx)
	}
	if err == nil && len(copies) < len(ids) { // what another index lacks has not vanished
		err = d.intact(ctx)
	}
	if err != nil {
		return nil, err
	}
	there := make(map[string]Copy, len(copies))
	for _, c := range copies {
		there[c.ID] = c
	}
	var older, absent []int
	for k, i := range conflicts {
		found, ok := there[ids[k]]
		millis := node.Millis(d.batch.items[i].micros)
		switch {
		case !ok && d.batch.mode == Versioned: // the conflict is with a deletion; what Sentry deleted is not sent
			absent = append(absent, i)
		case !ok: // removed since the conflict: nobody but Sentry does that
			d.outcome.Fates[node.Vanished]++
		case found.Millis > millis, d.index.writtenBySentry(found), found.Millis == millis && d.isNewer(found, i):
			d.outcome.Fates[node.Superseded]++
		case found.Millis == millis:
			d.outcome.Fates[g.same()]++
		default:
			older = append(older, i)
		}
	}
	created, err := d.create(ctx, absent)
	if err != nil {
		return nil, err
	}
	replaced, err := d.overwrite(ctx, older, there)
	if err != nil {
		return nil, err
	}
	done := slices.Concat(created, replaced)
	for k, i := range slices.Concat(absent, older) {
		if !done[k] {
			contested = append(contested, i)
			continue
		}
		d.outcome.Fates[node.Stored]++
		if k >= len(absent) {
			d.outcome.Replaced++
		}
	}
	return contested, nil
}

// isNewer tells two nodes of an id in one millisecond apart by their versions.
func (d *delivery) isNewer(found Copy, i int) bool {
	return d.batch.mode == Versioned && found.Version > version(d.batch.items[i].micros)
}

// create writes items of which the index has no document, though it remembers
// the version of one that was deleted. It reports for each whether it did.
func (d *delivery) create(ctx context.Context, items []int) (done []bool, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	lines := make([][]byte, len(items))
	for k, i := range items {
		line := appendString([]byte(`{"create":{"_id":`), []byte(d.batch.id(i)))
		lines[k] = append(append(line, "}}\n"...), d.batch.document(i)...)
	}
	if err := d.intact(ctx); err != nil {
		return nil, err
	}
	return d.target.conditional(ctx, d.address(itemFields), lines)
}

// overwrite writes items over exactly the copies that are given for their ids,
// and reports for each whether it did.
func (d *delivery) overwrite(ctx context.Context, items []int, there map[string]Copy) (done []bool, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	lines := make([][]byte, len(items))
	for k, i := range items {
		id := d.batch.id(i)
		lines[k] = append(conditionalAction("index", there[id]), d.batch.document(i)...)
	}
	if err := d.intact(ctx); err != nil {
		return nil, err
	}
	return d.target.conditional(ctx, d.address(itemFields), lines)
}

// Replace writes the nodes of a batch over exactly the given copies of their
// ids in an index, whatever the versions are, and returns the copies that it
// replaced. A copy that somebody changed or removed meanwhile is not; a node
// whose id has no copy is not written.
func (t *Target) Replace(ctx context.Context, index Index, b *Batch, copies []Copy) (replaced []Copy, err error) {
	there := make(map[string]Copy, len(copies))
	for _, c := range copies {
		there[c.ID] = c
	}
	d := t.delivery(index, b)
	var items []int
	for i := range b.Len() {
		if c, ok := there[b.id(i)]; ok && c.Index == index.Name {
			items = append(items, i)
		}
	}
	done, err := d.overwrite(ctx, items, there)
	if err != nil {
		return nil, fmt.Errorf("replace %d documents of index %s: %w", len(items), index.Name, err)
	}
	now, err := d.undone(ctx, items, done)
	if err != nil {
		return nil, fmt.Errorf("replace %d documents of index %s: %w", len(items), index.Name, err)
	}
	for k, i := range items {
		c, found := now[b.id(i)]
		ours := found && c.Millis == node.Millis(b.items[i].micros) && c.seqNo != there[c.ID].seqNo
		if done[k] || ours {
			replaced = append(replaced, there[b.id(i)])
		}
	}
	return replaced, nil
}

// undone looks at what is there for the items that were not carried out: after a
// broken connection it may be the very node that was sent.
func (d *delivery) undone(ctx context.Context, items []int, done []bool) (map[string]Copy, error) {
	var ids []string
	for k, i := range items {
		if !done[k] {
			ids = append(ids, d.batch.id(i))
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	err := d.target.Refresh(ctx, d.index.Name)
	var copies []Copy
	if err == nil {
		copies, err = d.target.Copies(ctx, d.index.Name, ids)
	}
	if IsGone(err) {
		return nil, nil
	}
	now := make(map[string]Copy, len(copies))
	for _, c := range copies {
		now[c.ID] = c
	}
	return now, err
}

// writtenBySentry reports whether a document dates from after the switch, and is
// not known to be that of a row. Sentry's word on an id is final then.
func (i Index) writtenBySentry(c Copy) bool {
	return i.SwitchedAt != 0 && c.Millis >= node.Millis(i.SwitchedAt) && (i.Wrote == nil || !i.Wrote(c))
}
