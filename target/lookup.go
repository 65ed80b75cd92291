package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Holding is an index behind the alias with what it holds.
type Holding struct {
	Name    string
	Day     node.Day // of a daily index
	Daily   bool     // its name is a daily index's
	Ours    bool     // this tool created it
	Docs    int64    // that a search sees
	Bytes   int64    // on disk, of the primary shards
	Origin  Origin   // of ours, without Shared: comparable to another
	Problem string   // Index.Problem
}

// Holdings lists the indices behind the alias, by name. Their documents are
// counted at one moment.
func (t *Target) Holdings(ctx context.Context) ([]Holding, error) {
	indices, err := t.behindAlias(ctx)
	if err != nil || len(indices) == 0 {
		return nil, err
	}
	docs, err := t.countByIndex(ctx)
	if err != nil {
		return nil, err
	}
	bytes, err := t.primaryBytes(ctx)
	if err != nil {
		return nil, err
	}
	holdings := make([]Holding, 0, len(indices))
	for _, index := range indices {
		h := Holding{Name: index.Name, Docs: docs[index.Name], Bytes: bytes[index.Name], Problem: index.Problem()}
		h.Day, h.Daily = t.config.Backend.DayOf(index.Name)
		if index.Origin != nil {
			h.Ours, h.Origin = true, *index.Origin
			h.Origin.Shared = false
		}
		holdings = append(holdings, h)
	}
	return holdings, nil
}

// maxIndices is how many indices are told apart: more than a cluster's nodes
// would hold shards of.
const maxIndices = 20_000

func (t *Target) countByIndex(ctx context.Context) (map[string]int64, error) {
	query := map[string]any{"size": 0, "aggs": map[string]any{
		"indices": map[string]any{"terms": map[string]any{"field": "_index", "size": maxIndices}},
	}}
	var answer struct {
		Aggregations struct {
			Indices struct {
				Other   int64 `json:"sum_other_doc_count"`
				Buckets []struct {
					Key   string `json:"key"`
					Count int64  `json:"doc_count"`
				} `json:"buckets"`
			} `json:"indices"`
		} `json:"aggregations"`
	}
	alias := t.config.Backend.Alias
	if err := t.search(ctx, alias, query, &answer); err != nil {
		return nil, fmt.Errorf("count documents of each index behind %s: %w", alias, err)
	}
	if answer.Aggregations.Indices.Other > 0 {
		return nil, fmt.Errorf("count documents of each index behind %s: %d documents were not told apart", alias, answer.Aggregations.Indices.Other)
	}
	counts := make(map[string]int64)
	for _, b := range answer.Aggregations.Indices.Buckets {
		counts[b.Key] = b.Count
	}
	return counts, nil
}

func (t *Target) primaryBytes(ctx context.Context) (map[string]int64, error) {
	var answer struct {
		Indices map[string]struct {
			Primaries struct {
				Store struct {
					Bytes int64 `json:"size_in_bytes"`
				} `json:"store"`
			} `json:"primaries"`
		} `json:"indices"`
	}
	alias := t.config.Backend.Alias
	path := "/" + url.PathEscape(alias) + "/_stats/store?level=indices&filter_path=indices.*.primaries.store.size_in_bytes"
	if err := t.ask(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, fmt.Errorf("measure the indices behind %s: %w", alias, err)
	}
	bytes := make(map[string]int64)
	for name, index := range answer.Indices {
		bytes[name] = index.Primaries.Store.Bytes
	}
	return bytes, nil
}

// Present counts which of the given ids a search in an index finds; each id
// counts once for each index behind a name that has it. It reads no stored
// document. An index that does not exist has none.
func (t *Target) Present(ctx context.Context, index string, ids []string) (int64, error) {
	n, err := t.count(ctx, index, ofIDs(ids))
	if IsGone(err) {
		return 0, nil
	}
	return n, err
}

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
func (t *Target) Payloads(ctx context.Context, index string, ids []string, visit func(Document) error) error {
	query := map[string]any{
		"query": ofIDs(ids),
		"size":  maxLookup, "track_total_hits": true, "_source": false, "stored_fields": []string{"data"},
		"docvalue_fields": millisField(),
	}
	var found hits[payloadHit]
	var payloads [][]byte
	err := t.searchLifted(ctx, index, query, func(content []byte) (rest []byte, err error) {
		rest, payloads = liftPayloads(content)
		return rest, json.Unmarshal(rest, &found)
	})
	if IsGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %d payloads of %s: %w", len(ids), index, err)
	}
	if !found.whole() {
		return fmt.Errorf("read %d payloads of %s: %d of %d documents came", len(ids), index, len(found.Hits.Hits), found.total())
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
		Data      []json.RawMessage `json:"data"`
		Timestamp []string          `json:"timestamp"`
	} `json:"fields"`
}

func (h payloadHit) document(payloads [][]byte) (d Document, err error) {
	d = Document{ID: h.ID, Index: h.Index, Millis: -1}
	if len(h.Fields.Data) > 0 {
		if d.Data, err = storedValue(h.Fields.Data[0], payloads); err != nil {
			return d, err
		}
	}
	if len(h.Fields.Timestamp) == 0 {
		return d, nil
	}
	d.Millis, err = strconv.ParseInt(h.Fields.Timestamp[0], 10, 64)
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
