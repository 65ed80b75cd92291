package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// row is a node whose data is kept beyond the call that handed it over.
type row struct {
	id     string
	micros int64
	data   []byte
}

// comparer compares payloads. It reuses its buffers: each goroutine has its own.
type comparer struct {
	*Verification
	check   *node.Checker
	decoder node.Decoder
	text    [2][]byte // canonical, of document and row
	inner   [2][]byte
}

func (v *Verification) newComparer() *comparer {
	return &comparer{Verification: v, check: node.NewChecker(node.Full)}
}

// difference says what is wrong with a row's document, or nothing. What
// Sentry's reader gets are the inner bytes, so those are compared; a document
// that is the very text of its row needs only to be readable.
func (c *comparer) difference(r row, d target.Document) (class Class, known string) {
	if d.Millis != node.Millis(r.micros) && c.scope.sentrys(r.id, d.Millis) {
		return "", "" // a version that Sentry wrote since
	}
	if d.Data == nil {
		return Unreadable, "its document stores no data"
	}
	var verdict node.Verdict
	if c.text[0], verdict = c.check.Append(c.text[0][:0], d.Data); verdict.Reason != node.Accepted {
		return c.unreadable(r, verdict.Reason)
	}
	if bytes.Equal(r.data, d.Data) {
		return "", ""
	}
	if c.text[1], verdict = c.check.Append(c.text[1][:0], r.data); verdict.Reason != node.Accepted {
		return Different, "the row is " + string(verdict.Reason) + ", its document is readable"
	}
	if bytes.Equal(c.text[0], c.text[1]) {
		return "", ""
	}
	for i, text := range c.text {
		var err error
		if c.inner[i], err = c.decoder.Decode(c.inner[i][:0], text); err != nil {
			return Uncompared, "its payload is larger than can be compared"
		}
	}
	switch {
	case bytes.Equal(c.inner[0], c.inner[1]):
		return "", ""
	case d.Millis != node.Millis(r.micros):
		return Different, otherVersion(r.micros, d.Millis)
	}
	return Different, fmt.Sprintf("the row has %d inner bytes and its document %d, both of %s", len(c.inner[1]), len(c.inner[0]), isoTime(r.micros))
}

// unreadable tells a document that broke from a row that nobody could read
// before either. A quick check does not look as far as the damage, and copies it.
func (c *comparer) unreadable(r row, reason node.Reason) (class Class, known string) {
	known = "its document is " + string(reason) + ": Sentry's reader would raise"
	if _, verdict := c.check.Append(c.text[1][:0], r.data); verdict.Reason != reason {
		return Unreadable, known
	}
	if slices.Contains(c.options.Accept, reason) {
		return "", ""
	}
	return Unreadable, known + ", and so it would with the row; --accept-rejected " + string(reason) + " gives such nodes up"
}

// chunk is rows of one day's index that are compared by one question.
type chunk struct {
	day     node.Day
	stratum stratum
	rows    []row
	bytes   int
}

const (
	// chunkBytes and chunkRows bound what one question reads, on each side.
	chunkBytes = 2 << 20
	chunkRows  = 1000
)

func (k *chunk) full() bool { return k.bytes >= chunkBytes || len(k.rows) >= chunkRows }

func (k *chunk) add(n node.Node) {
	k.rows = append(k.rows, row{string(n.ID), n.Micros, append([]byte(nil), n.Data...)})
	k.bytes += len(n.Data)
}

func (k *chunk) suspect(r row) suspect {
	return suspect{id: r.id, day: k.day, micros: r.micros, stratum: k.stratum}
}

// compare compares the rows of a chunk with the documents of their day's index
// and returns the suspects.
func (c *comparer) compare(ctx context.Context, k *chunk) ([]suspect, error) {
	if len(k.rows) == 0 {
		return nil, nil
	}
	ids := make([]string, len(k.rows))
	byID := make(map[string]row, len(k.rows))
	for i, r := range k.rows {
		ids[i], byID[r.id] = r.id, r
	}
	sound := make(map[string]bool, len(ids))
	index := c.Target.Backend().IndexOf(k.day)
	err := c.again(ctx, func() error {
		return c.Target.Payloads(ctx, index, ids, func(d target.Document) error {
			class, _ := c.difference(byID[d.ID], d)
			sound[d.ID] = class == ""
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	c.meter.add(int64(len(ids)), int64(k.bytes))
	var found []suspect
	for _, r := range k.rows {
		if !sound[r.id] {
			found = append(found, k.suspect(r))
		}
	}
	return found, nil
}

// compareAsSentry reads one id with Sentry's own two requests.
func (c *comparer) compareAsSentry(ctx context.Context, r row) (sound bool, err error) {
	var sight target.Sight
	err = c.again(ctx, func() (err error) { sight, err = c.Target.Read(ctx, r.id); return err })
	if err != nil || sight.Copies != 1 || sight.Data == nil {
		return false, err
	}
	class, _ := c.difference(r, target.Document{ID: r.id, Index: sight.Index, Millis: sight.Millis, Data: sight.Data})
	return class == "", nil
}
