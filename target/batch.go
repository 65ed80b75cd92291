package target

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Mode is how a batch's nodes are written.
type Mode uint8

// The modes.
const (
	// Versioned is for the index of a past day that this tool created: each
	// node carries its timestamp as an external version, so writing is
	// idempotent and order-free.
	Versioned Mode = iota
	// CreateOnly is for an index that Sentry may write to or has written to: an
	// external version would overwrite Sentry's own documents there. What is
	// already there is looked at, and replaced only if it is older.
	CreateOnly
)

const (
	// ReasonID is the reason to reject a node whose id no document can have:
	// empty, over maxID bytes, or no UTF-8. Sentry never makes one.
	ReasonID node.Reason = "unusable_id"
	// ReasonTooLarge is the reason to reject a node that the cluster does not
	// take in a request of its own (http.max_content_length, or a proxy's limit).
	ReasonTooLarge node.Reason = "too_large"
	// ReasonRefused is the reason to reject a node that the cluster refused by
	// itself, such as one that its mapping cannot hold.
	ReasonRefused node.Reason = "refused_by_target"

	maxID = 512 // bytes of an _id, fixed in OpenSearch
)

// Batch is the body of one bulk request under construction, for one daily
// index. It is written without a JSON encoder straight from the row's bytes,
// and reused: its buffer stays. Not for use by several goroutines at once.
type Batch struct {
	size  int // bytes of body that it was made for
	mode  Mode
	body  []byte
	ids   []byte
	items []item
	sum   node.Digest // of the documents, where nobody else writes
}

// item is where a node lies in a batch.
type item struct {
	action int // offset of its action line in body
	source int // offset of its document's line in body
	id     int // offset of its id in ids
	micros int64
}

// NewBatch returns an empty batch with room for size bytes of body.
func NewBatch(size int) *Batch { return &Batch{size: size, body: make([]byte, 0, size)} }

// Reset empties the batch for nodes that are to be written in another mode.
// The buffer that a very large node made grow is not kept (promise 8).
func (b *Batch) Reset(mode Mode) {
	if cap(b.body) > 2*b.size {
		b.body = make([]byte, 0, b.size)
	}
	b.mode, b.body, b.ids, b.items, b.sum = mode, b.body[:0], b.ids[:0], b.items[:0], node.Digest{}
}

// Len is the number of nodes in the batch.
func (b *Batch) Len() int { return len(b.items) }

// Size is the number of bytes of the request's body.
func (b *Batch) Size() int { return len(b.body) }

// Digest is of the documents in the batch, and empty for CreateOnly.
func (b *Batch) Digest() node.Digest { return b.sum }

// Body is the request's body. It is the batch's own buffer: valid until the
// next Append or Reset.
func (b *Batch) Body() []byte { return b.body }

// lineBytes is what a node takes in the body beside its id and data: both
// lines' fixed parts, a version and a timestamp, rounded up.
const lineBytes = 160

// Room is the number of bytes that a node would take, if its data is text.
func (b *Batch) Room(n node.Node) int { return len(n.ID) + len(n.Data) + lineBytes }

// Append checks a node and adds it. A node that is not accepted is not added.
func (b *Batch) Append(n node.Node, check *node.Checker) node.Verdict {
	if len(n.ID) == 0 || len(n.ID) > maxID || !utf8.Valid(n.ID) {
		return node.Verdict{Reason: ReasonID}
	}
	if n.Data == nil {
		return node.Verdict{Reason: node.NullData}
	}
	added := item{action: len(b.body), id: len(b.ids), micros: n.Micros}
	b.appendAction(n)
	added.source = len(b.body)
	b.body = append(b.body, `{"data":"`...)
	text := len(b.body)
	var verdict node.Verdict
	if b.body, verdict = check.Append(b.body, n.Data); verdict.Reason != node.Accepted {
		b.body = b.body[:added.action]
		return verdict
	}
	if b.mode == Versioned {
		b.sum.Add(node.DigestOf(n.ID, node.Millis(n.Micros), b.body[text:]))
	}
	b.body = append(b.body, `","timestamp":"`...)
	b.body = node.AppendTimestamp(b.body, n.Micros)
	b.body = append(b.body, "\"}\n"...)
	b.ids = append(b.ids, n.ID...)
	b.items = append(b.items, added)
	return verdict
}

func (b *Batch) appendAction(n node.Node) {
	if b.mode == CreateOnly {
		b.body = append(b.body, `{"create":{"_id":`...)
		b.body = appendString(b.body, n.ID)
		b.body = append(b.body, "}}\n"...)
		return
	}
	b.body = append(b.body, `{"index":{"_id":`...)
	b.body = appendString(b.body, n.ID)
	b.body = append(b.body, `,"version_type":"external","version":`...)
	b.body = strconv.AppendInt(b.body, version(n.Micros), 10)
	b.body = append(b.body, "}}\n"...)
}

// version is a node's external version. OpenSearch wants 0 or more; before
// 1970 there was no Sentry.
func version(micros int64) int64 { return max(micros, 0) }

// appendString appends text as a JSON string. Ids are almost always plain.
func appendString(dst, text []byte) []byte {
	for _, c := range text {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(text)) // valid UTF-8 always encodes
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// id returns the id of item i.
func (b *Batch) id(i int) string {
	end := len(b.ids)
	if i+1 < len(b.items) {
		end = b.items[i+1].id
	}
	return string(b.ids[b.items[i].id:end])
}

// idsOf returns the ids of some items.
func (b *Batch) idsOf(items []int) []string {
	ids := make([]string, len(items))
	for k, i := range items {
		ids[k] = b.id(i)
	}
	return ids
}

// document returns the line of item i's document, newline included.
func (b *Batch) document(i int) []byte { return b.body[b.items[i].source:b.end(i)] }

func (b *Batch) end(i int) int {
	if i+1 < len(b.items) {
		return b.items[i+1].action
	}
	return len(b.body)
}

// part returns the body for some of the items, in order. For all of them it is
// the batch's own buffer.
func (b *Batch) part(items []int) []byte {
	if len(items) == len(b.items) {
		return b.body
	}
	var part []byte
	for _, i := range items {
		part = append(part, b.body[b.items[i].action:b.end(i)]...)
	}
	return part
}
