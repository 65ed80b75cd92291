package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// ErrChanged means that a record is not what its writer took it for: somebody
// else has changed it.
var ErrChanged = errors.New("somebody else changed the record")

// Records is an index of our own, never behind the alias, that keeps small JSON
// documents by id. A write names the version that it replaces, so that of
// several writers one succeeds and all others are told.
type Records struct {
	target *Target
	index  string
}

// Record is a version of a document. The zero Record is the absent one.
type Record struct {
	Body []byte // JSON; nil: there is none

	seqNo       int64
	primaryTerm int64
}

// Same reports whether both are one version of one document.
func (r Record) Same(other Record) bool {
	return r.seqNo == other.seqNo && r.primaryTerm == other.primaryTerm && (r.Body == nil) == (other.Body == nil)
}

// Records returns the index of a name, which need not exist yet.
func (t *Target) Records(index string) Records { return Records{t, index} }

// Index is the name of the index.
func (r Records) Index() string { return r.index }

// recordsKey marks an index of records in its mapping's `_meta`.
const recordsKey = "nodestore_migrate_records"

const hintOwnName = "give the checkpoint's index another name, one that no index template puts behind an alias, for example opensearch:nodestore-migrate-checkpoint"

// Ensure creates the index where there is none: hidden, one shard, replicated
// where there are nodes for it. It refuses a name that is in other use, or that
// is or could come to be behind the backend's alias, where it would make Sentry
// read records as nodes.
func (r Records) Ensure(ctx context.Context) error {
	if err := r.checkName(ctx); err != nil {
		return err
	}
	err := r.target.put(ctx, r.index, map[string]any{
		"settings": map[string]any{"index": map[string]any{
			"hidden": true, "number_of_shards": 1, "auto_expand_replicas": "0-1", "translog.durability": "request",
		}},
		// A template that matches every name may say otherwise of both.
		"mappings": map[string]any{
			"_meta": map[string]any{recordsKey: true}, "_source": map[string]any{"enabled": true}, "dynamic": false,
		},
		"aliases": map[string]any{LoadingName(r.index): map[string]any{"is_hidden": true}},
	})
	switch kind := typeOf(err); {
	case kind == "invalid_index_name_exception":
		return hint.Add(err, hintOwnName)
	case err != nil && kind != typeExists:
		return err
	}
	return r.checkIndex(ctx)
}

func (r Records) checkName(ctx context.Context) error {
	b := r.target.config.Backend
	matches, err := path.Match(b.Pattern, r.index)
	if err != nil {
		return fmt.Errorf("match index %s with pattern %s: %w", r.index, b.Pattern, err)
	}
	if _, daily := b.DayOf(r.index); daily || matches || r.index == b.Alias {
		return hint.Add(fmt.Errorf("index %s would be Sentry's: alias %s, indices %s, pattern %s", r.index, b.Alias, b.Index, b.Pattern), hintOwnName)
	}
	effective, err := r.target.simulate(ctx, r.index, nil)
	if err != nil {
		return err
	}
	if _, behind := effective.aliases[b.Alias]; behind {
		return hint.Add(fmt.Errorf("an index template would put index %s behind alias %s", r.index, b.Alias), hintOwnName)
	}
	return nil
}

// checkIndex makes sure that what is there is an index of records.
func (r Records) checkIndex(ctx context.Context) error {
	op := "read index " + r.index
	var answer map[string]description
	if err := r.target.ask(ctx, http.MethodGet, "/"+url.PathEscape(r.index), nil, &answer); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for name, description := range answer {
		var mapping struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		}
		if err := json.Unmarshal(description.Mappings, &mapping); err != nil {
			return fmt.Errorf("%s: decode mapping: %w", op, err)
		}
		if _, ours := mapping.Meta[recordsKey]; !ours || name != r.index {
			return hint.Add(fmt.Errorf("index %s is in other use", r.index), hintOwnName)
		}
		if _, behind := description.Aliases[r.target.config.Backend.Alias]; behind {
			return hint.Add(fmt.Errorf("index %s is behind alias %s", r.index, r.target.config.Backend.Alias), "take it out of the alias")
		}
	}
	return nil
}

// Get reads a document as it is now. One that does not exist, or whose index
// does not, is the zero Record.
func (r Records) Get(ctx context.Context, id string) (Record, error) {
	var found struct {
		Found       bool            `json:"found"`
		SeqNo       int64           `json:"_seq_no"`
		PrimaryTerm int64           `json:"_primary_term"`
		Source      json.RawMessage `json:"_source"`
	}
	err := r.target.ask(ctx, http.MethodGet, "/"+url.PathEscape(r.index)+"/_doc/"+url.PathEscape(id), nil, &found)
	if IsGone(err) || typeOf(err) == typeDocumentMissing {
		return Record{}, nil
	}
	if err == nil && (!found.Found || len(found.Source) == 0) {
		err = errors.New("the answer has no document")
	}
	if err != nil {
		return Record{}, fmt.Errorf("read record %s: %w", id, err)
	}
	return Record{found.Source, found.SeqNo, found.PrimaryTerm}, nil
}

// Put writes a document in the place of the version last, durably, and returns
// the version that it made. ErrChanged says that there is another one by now.
// It is sent again for as long as Config.Patience says; whether an attempt
// whose answer was lost succeeded is told by the body, which has to differ from
// whatever another writer could write.
func (r Records) Put(ctx context.Context, id string, body []byte, last Record) (Record, error) {
	written, err := r.put(ctx, id, body, last)
	if err != nil {
		return Record{}, fmt.Errorf("write record %s: %w", id, err)
	}
	return written, nil
}

func (r Records) put(ctx context.Context, id string, body []byte, last Record) (Record, error) {
	request, err := putRequest(id, body, last)
	if err != nil {
		return Record{}, err
	}
	// An index that went away must not come back by itself, with another mapping.
	address := "/" + url.PathEscape(LoadingName(r.index)) + "/_bulk?require_alias=true"
	var patience backoff
	for uncertain := false; ; {
		a, err := r.target.exchange(ctx, http.MethodPost, address, request)
		if ctx.Err() != nil {
			return Record{}, ctx.Err()
		}
		verdict := judge("bulk", a, err)
		switch {
		case verdict.err != nil && verdict.class != again:
			return Record{}, verdict.err
		case verdict.err == nil:
			item, err := decodePut(a.body)
			if err != nil {
				return Record{}, err
			}
			switch {
			case item.Status < http.StatusMultipleChoices:
				return Record{body, item.SeqNo, item.PrimaryTerm}, nil
			case item.Status == http.StatusConflict && uncertain:
				return r.written(ctx, id, body)
			case item.Status == http.StatusConflict:
				return Record{}, ErrChanged
			case item.class() != again:
				return Record{}, item.lost()
			}
			verdict.err, verdict.uncertain = item.refusal(), true
		}
		uncertain = uncertain || verdict.uncertain
		if err := r.target.pause(ctx, &patience, verdict.err); err != nil {
			return Record{}, err
		}
	}
}

// written tells whether an attempt whose answer was lost has made the version
// that is there.
func (r Records) written(ctx context.Context, id string, body []byte) (Record, error) {
	found, err := r.Get(ctx, id)
	if err == nil && !bytes.Equal(found.Body, body) {
		err = ErrChanged
	}
	return found, err
}

// Change makes a new version of a document out of the present one, nil if there
// is none, again if somebody else was faster. Where change returns nil, the
// document stays. It returns the document that is there in the end.
func (r Records) Change(ctx context.Context, id string, change func(old []byte) ([]byte, error)) ([]byte, error) {
	for {
		old, err := r.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		body, err := change(old.Body)
		if err != nil {
			return nil, err
		}
		if body == nil {
			return old.Body, nil
		}
		if _, err = r.Put(ctx, id, body, old); !errors.Is(err, ErrChanged) {
			return body, err
		}
	}
}

// putRequest is a bulk of one item: unlike the request for a single document,
// it can be told not to create the index.
func putRequest(id string, body []byte, last Record) ([]byte, error) {
	name, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	var request bytes.Buffer
	if last.Body == nil {
		fmt.Fprintf(&request, `{"create":{"_id":%s}}`, name)
	} else {
		fmt.Fprintf(&request, `{"index":{"_id":%s,"if_seq_no":%s,"if_primary_term":%s}}`,
			name, strconv.FormatInt(last.seqNo, 10), strconv.FormatInt(last.primaryTerm, 10))
	}
	if bytes.IndexByte(body, '\n') >= 0 {
		return nil, errors.New("the document has more than one line")
	}
	request.WriteByte('\n')
	request.Write(body)
	request.WriteByte('\n')
	return request.Bytes(), nil
}

// putAnswer is the server's word on a record.
type putAnswer struct {
	itemAnswer
	SeqNo       int64 `json:"_seq_no"`
	PrimaryTerm int64 `json:"_primary_term"`
}

func decodePut(body []byte) (putAnswer, error) {
	var answer struct {
		Items []map[string]putAnswer `json:"items"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return putAnswer{}, fmt.Errorf("decode the answer: %w", err)
	}
	if len(answer.Items) == 1 {
		for _, item := range answer.Items[0] {
			return item, nil
		}
	}
	return putAnswer{}, errors.New("the answer is not about one document")
}

func (a putAnswer) lost() error {
	if a.Error.Type == typeIndexMissing {
		return hint.Add(a.refusal(), "somebody removed the checkpoint's index: what is done is not known any more. A new checkpoint looks at every node again, and sends only what is not there")
	}
	return a.refusal()
}
