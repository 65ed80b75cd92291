package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/evidence"
)

// comparer compares payloads. It reuses its buffers: each goroutine has its own.
type comparer struct {
	*run
	check   *node.Checker
	decoder node.Decoder
	text    [2][]byte // canonical, of document and row
	inner   [2][]byte
	digests map[string]node.Digest // of the documents of one question, by id
}

func newComparer(r *run) *comparer {
	return &comparer{run: r, check: node.NewChecker(node.Full), digests: make(map[string]node.Digest)}
}

// difference says what is wrong with a row's document, or nothing. What
// Sentry's reader gets are the inner bytes, so those are compared; a document
// that is the very text of its row needs only to be readable.
func (c *comparer) difference(r node.Node, d evidence.Document) (class Class, known string) {
	if d.Millis != node.Millis(r.Micros) && c.sentrys(d.ID, d.Millis) {
		return "", "" // a version that Sentry wrote since
	}
	if d.Data == nil {
		return Unreadable, "its document stores no data"
	}
	var checked node.Verdict
	if c.text[0], checked = c.check.Append(c.text[0][:0], d.Data); checked.Reason != node.Accepted {
		return c.unreadable(r, checked.Reason)
	}
	if bytes.Equal(r.Data, d.Data) {
		return "", ""
	}
	if c.text[1], checked = c.check.Append(c.text[1][:0], r.Data); checked.Reason != node.Accepted {
		return Different, "the row is " + string(checked.Reason) + ", its document is readable"
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
	case d.Millis != node.Millis(r.Micros):
		return Different, otherVersion(r.Micros, d.Millis)
	}
	return Different, fmt.Sprintf("the row has %d inner bytes and its document %d, both of %s", len(c.inner[1]), len(c.inner[0]), isoTime(r.Micros))
}

// unreadable tells a document that broke from a row that nobody could read
// before either. A quick check does not look as far as the damage, and copies it.
func (c *comparer) unreadable(r node.Node, reason node.Reason) (class Class, known string) {
	known = "its document is " + string(reason) + ": Sentry's reader would raise"
	if _, checked := c.check.Append(c.text[1][:0], r.Data); checked.Reason != reason {
		return Unreadable, known
	}
	if slices.Contains(c.Accept, reason) {
		return "", ""
	}
	return Unreadable, known + ", and so it would with the row; such nodes are given up like rejected ones, by that reason"
}

// differences compares rows with the documents that an index or alias shows.
func (c *comparer) differences(ctx context.Context, index string, ids []string, rows map[string]node.Node) (map[string]Finding, error) {
	found := make(map[string]Finding, len(ids))
	err := c.ask(ctx, func() error {
		return evidence.Payloads(ctx, c.target, index, ids, func(d evidence.Document) error {
			if r, ok := rows[d.ID]; ok {
				if c.Level == Full {
					c.digests[d.ID] = node.DigestOf([]byte(d.ID), d.Millis, d.Data)
				}
				class, known := c.difference(r, d)
				found[d.ID] = Finding{Class: class, Known: known, Indices: []string{d.Index}}
			}
			return nil
		})
	})
	return found, err
}

// batch is rows of one day that are compared by one question.
type batch struct {
	rows  []node.Node
	bytes int64
}

// rowsAtOnce and bytesAtOnce bound what one question reads, on each side.
const (
	rowsAtOnce  = 1000
	bytesAtOnce = 2 << 20
)

func (b *batch) full() bool { return b.bytes >= bytesAtOnce || len(b.rows) >= rowsAtOnce }

func (b *batch) add(n node.Node) {
	b.rows = append(b.rows, n)
	b.bytes += int64(len(n.Data))
}

// compare compares a batch with the documents of its day's index, and one of so
// many rows also as Sentry reads it. It returns the rows that do not look right.
func (c *comparer) compare(ctx context.Context, day node.Day, b *batch, sentryShare int) (unsound []node.Node, counted Compared, err error) {
	if len(b.rows) == 0 {
		return nil, counted, nil
	}
	ids, rows := make([]string, len(b.rows)), make(map[string]node.Node, len(b.rows))
	for i, r := range b.rows {
		ids[i] = string(r.ID)
		rows[ids[i]] = r
	}
	var found map[string]Finding
	clear(c.digests)
	err = c.through(ctx, b.bytes, func() (err error) { found, err = c.differences(ctx, c.indexOf(day.Start()), ids, rows); return err })
	if err != nil {
		return nil, counted, err
	}
	c.meter.add(int64(len(ids)), b.bytes)
	counted = Compared{Population: int64(len(ids)), Nodes: int64(len(ids)), Bytes: b.bytes}
	for i, r := range b.rows {
		f, seen := found[ids[i]]
		sound := seen && f.Class == ""
		if i%sentryShare == 0 {
			counted.AsSentry++
			asSentry, err := c.asSentry(ctx, r)
			if err != nil {
				return nil, counted, err
			}
			sound = sound && asSentry
		}
		if !sound {
			unsound = append(unsound, r)
			continue
		}
		counted.Digest.Add(c.digests[ids[i]])
	}
	return unsound, counted, nil
}

// asSentry compares a row with what Sentry's own two requests give.
func (c *comparer) asSentry(ctx context.Context, r node.Node) (sound bool, err error) {
	id := string(r.ID)
	sight, err := answer(ctx, c.sides, func(ctx context.Context) (target.Sight, error) { return c.target.Read(ctx, id) })
	if err != nil || sight.Copies != 1 || sight.Data == nil {
		return false, err
	}
	class, _ := c.difference(r, evidence.Document{ID: id, Index: sight.Index, Millis: sight.Millis, Data: sight.Data})
	return class == "", nil
}
