package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// maxLookup is how many documents one search returns at most: the server's
// default of index.max_result_window.
const maxLookup = 10_000

// Document is a stored payload.
type Document struct {
	ID     string
	Index  string
	Millis int64  // its timestamp, -1 if it has none
	Data   []byte // base64 text; nil if it is not stored
}

// Payloads hands over the documents that a search in an index or alias finds
// for the given ids, with what they store. Their number is the caller's to
// bound: an answer is held in memory. An index that does not exist has none.
func Payloads(ctx context.Context, t *target.Target, index string, ids []string, visit func(Document) error) error {
	query := map[string]any{
		"query": cluster.OfIDs(ids),
		"size":  maxLookup, "track_total_hits": true, "_source": false, "stored_fields": []string{"data"},
		"docvalue_fields": cluster.MillisField(),
	}
	var found cluster.Hits[payloadHit]
	var payloads [][]byte
	err := t.SearchWith(ctx, index, query, func(content []byte) (rest []byte, err error) {
		rest, payloads = liftPayloads(content)
		return rest, json.Unmarshal(rest, &found)
	})
	if cluster.IsMissing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %d payloads of %s: %w", len(ids), index, err)
	}
	if !found.Whole() {
		return fmt.Errorf("read %d payloads of %s: %d of %d documents came", len(ids), index, len(found.Hits.Hits), found.Total())
	}
	for _, h := range found.Hits.Hits {
		document, err := h.document(payloads)
		if err != nil {
			return fmt.Errorf("read %d payloads of %s: %w", len(ids), index, err)
		}
		if err := visit(document); err != nil {
			return err
		}
	}
	return nil
}

type payloadHit struct {
	Index  string `json:"_index"`
	ID     string `json:"_id"`
	Fields struct {
		Data      []json.RawMessage
		Timestamp cluster.Millis
	}
}

func (h payloadHit) document(payloads [][]byte) (d Document, err error) {
	d = Document{ID: h.ID, Index: h.Index}
	if len(h.Fields.Data) > 0 {
		d.Data, err = storedValue(h.Fields.Data[0], payloads)
	}
	if err == nil {
		d.Millis, err = h.Fields.Timestamp.Value()
	}
	return d, err
}

// liftPayloads takes the stored values out of an answer and leaves their
// numbers in it: a decoder of JSON looks at every byte several times, and nearly
// all of them are payloads. A quotation mark inside a JSON string is escaped, so
// the field's name in an id is never taken for the field. A value with an escape
// stays where it is.
func liftPayloads(answer []byte) (rest []byte, payloads [][]byte) {
	field := []byte(`"data":["`)
	rest = make([]byte, 0, 64<<10)
	for {
		at := bytes.Index(answer, field)
		if at < 0 {
			return append(rest, answer...), payloads
		}
		start := at + len(field)
		size := bytes.IndexByte(answer[start:], '"')
		if size < 0 {
			return append(rest, answer...), payloads
		}
		value := answer[start : start+size]
		if bytes.IndexByte(value, '\\') >= 0 {
			rest, answer = append(rest, answer[:start]...), answer[start:]
			continue
		}
		rest = append(rest, answer[:start-1]...)
		rest = strconv.AppendInt(rest, int64(len(payloads)), 10)
		payloads, answer = append(payloads, value), answer[start+size+1:]
	}
}

// storedValue is the value that liftPayloads left in its place, or its number.
func storedValue(value json.RawMessage, payloads [][]byte) ([]byte, error) {
	if len(value) > 0 && value[0] == '"' {
		var text string
		err := json.Unmarshal(value, &text)
		return []byte(text), err
	}
	number, err := strconv.Atoi(string(value))
	if err != nil || number < 0 || number >= len(payloads) {
		return nil, fmt.Errorf("the answer stores %d bytes that are not text", len(value))
	}
	return payloads[number], nil
}
