package target

import (
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// resolve gives a fate to the nodes for which the index has a document that
// Sentry may have written: a newer one stays, the same is already there, and
// an older one is replaced if nobody changes it at this moment. It returns the
// items that have to be looked at again.
func (d *delivery) resolve(ctx context.Context, g group, conflicts []int) (contested []int, err error) {
	if len(conflicts) == 0 {
		return nil, nil
	}
	there, err := d.lookUp(ctx, conflicts)
	if IsGone(err) {
		return conflicts, d.reload(ctx)
	}
	if err == nil && len(there) < len(conflicts) { // what another index lacks has not vanished
		err = d.intact(ctx)
	}
	if err != nil {
		return nil, err
	}
	var absent, older []int
	for _, i := range conflicts {
		found, ok := there[d.batch.id(i)]
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
	open := slices.Concat(absent, older)
	done, err := d.overwrite(ctx, open, there)
	if err != nil {
		return nil, err
	}
	for k, i := range open {
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

// lookUp returns what the index has of items at this moment, by id.
func (d *delivery) lookUp(ctx context.Context, items []int) (map[string]Copy, error) {
	there := make(map[string]Copy, len(items))
	err := d.target.Refresh(ctx, d.index.Name)
	for part := range slices.Chunk(items, maxLookup) {
		var copies []Copy
		if err == nil {
			copies, err = d.target.Copies(ctx, d.index.Name, d.batch.idsOf(part))
		}
		for _, c := range copies {
			there[c.ID] = c
		}
	}
	return there, err
}

// overwrite writes items over exactly the copies that are given for their ids,
// and those without one where the index has no document, though it may remember
// the version of one that was deleted. It reports for each whether it did.
func (d *delivery) overwrite(ctx context.Context, items []int, there map[string]Copy) (done []bool, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	lines := make([][]byte, len(items))
	for k, i := range items {
		id := d.batch.id(i)
		line := append(appendString([]byte(`{"create":{"_id":`), []byte(id)), "}}\n"...)
		if c, ok := there[id]; ok {
			line = conditionalAction("index", c)
		}
		lines[k] = append(line, d.batch.document(i)...)
	}
	if err := d.intact(ctx); err != nil {
		return nil, err
	}
	return d.target.conditional(ctx, d.address(cluster.ItemFields), lines)
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
	d := &delivery{target: t, index: index, batch: b}
	var items, undone []int
	for i := range b.Len() {
		if c, ok := there[b.id(i)]; ok && c.Index == index.Name {
			items = append(items, i)
		}
	}
	done, err := d.overwrite(ctx, items, there)
	if err != nil {
		return nil, fmt.Errorf("replace %d documents of index %s: %w", len(items), index.Name, err)
	}
	for k, i := range items {
		if done[k] {
			replaced = append(replaced, there[b.id(i)])
		} else {
			undone = append(undone, i)
		}
	}
	if len(undone) == 0 {
		return replaced, nil
	}
	// After a broken connection what is there may be the very node that was sent.
	now, err := d.lookUp(ctx, undone)
	if err != nil && !IsGone(err) {
		return nil, fmt.Errorf("replace %d documents of index %s: %w", len(items), index.Name, err)
	}
	for _, i := range undone {
		before := there[b.id(i)]
		if c, found := now[before.ID]; found && c.Millis == node.Millis(b.items[i].micros) && c.seqNo != before.seqNo {
			replaced = append(replaced, before)
		}
	}
	return replaced, nil
}

// writtenBySentry reports whether a document dates from after the switch, and is
// not known to be that of a row. Sentry's word on an id is final then.
func (i Index) writtenBySentry(c Copy) bool {
	return i.SwitchedAt != 0 && c.Millis >= node.Millis(i.SwitchedAt) && (i.Wrote == nil || !i.Wrote(c))
}
