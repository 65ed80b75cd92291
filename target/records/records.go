// Package records keeps small JSON documents in an index of the target that is
// never behind the alias: the checkpoint's, where it is not a file.
package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// ErrChanged means that a record is not what its writer took it for: somebody
// else has changed it.
var ErrChanged = errors.New("somebody else changed the record")

// Store is the index. A write names the version that it replaces, so that of
// several writers one succeeds and all others are told.
type Store struct {
	target *target.Target
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

// In returns the store in an index, which need not exist yet.
func In(t *target.Target, index string) Store { return Store{t, index} }

// Index is the name of the index.
func (s Store) Index() string { return s.index }

// recordsKey marks an index of records in its mapping's `_meta`.
const recordsKey = "nodestore_migrate_records"

const hintOwnName = "give the checkpoint's index another name, one that no index template puts behind an alias, for example opensearch:nodestore-migrate-checkpoint"

// Ensure creates the index where there is none: hidden, one shard, replicated
// where there are nodes for it. It refuses a name that is in other use, or that
// is or could come to be behind the backend's alias, where it would make Sentry
// read records as nodes.
func (s Store) Ensure(ctx context.Context) error {
	if err := s.checkName(ctx); err != nil {
		return err
	}
	err := s.target.PutIndex(ctx, s.index, map[string]any{
		"settings": map[string]any{"index": map[string]any{
			"hidden": true, "number_of_shards": 1, "auto_expand_replicas": "0-1", "translog.durability": "request",
		}},
		// A template that matches every name may say otherwise of both.
		"mappings": map[string]any{
			"_meta": map[string]any{recordsKey: true}, "_source": map[string]any{"enabled": true}, "dynamic": false,
		},
		"aliases": map[string]any{target.LoadingName(s.index): map[string]any{"is_hidden": true}},
	})
	switch kind := cluster.TypeOf(err); {
	case kind == "invalid_index_name_exception":
		return hint.Add(err, hintOwnName)
	case err != nil && kind != cluster.AlreadyExists:
		return err
	}
	return s.checkIndex(ctx)
}

func (s Store) checkName(ctx context.Context) error {
	b := s.target.Backend()
	matches, err := path.Match(b.Pattern, s.index)
	if err != nil {
		return fmt.Errorf("match index %s with pattern %s: %w", s.index, b.Pattern, err)
	}
	if _, daily := b.DayOf(s.index); daily || matches || s.index == b.Alias {
		return hint.Add(fmt.Errorf("index %s would be Sentry's: alias %s, indices %s, pattern %s", s.index, b.Alias, b.Index, b.Pattern), hintOwnName)
	}
	effective, err := s.target.Simulate(ctx, s.index)
	if err != nil {
		return err
	}
	if slices.Contains(effective.Aliases, b.Alias) {
		return hint.Add(fmt.Errorf("an index template would put index %s behind alias %s", s.index, b.Alias), hintOwnName)
	}
	return nil
}

// checkIndex makes sure that what is there is an index of records.
func (s Store) checkIndex(ctx context.Context) error {
	var answer map[string]struct {
		Aliases  map[string]any
		Mappings struct {
			Meta map[string]any `json:"_meta"`
		}
	}
	if err := s.target.Ask(ctx, http.MethodGet, "/"+url.PathEscape(s.index), nil, &answer); err != nil {
		return fmt.Errorf("read index %s: %w", s.index, err)
	}
	for name, found := range answer {
		if _, ours := found.Mappings.Meta[recordsKey]; !ours || name != s.index {
			return hint.Add(fmt.Errorf("index %s is in other use", s.index), hintOwnName)
		}
		alias := s.target.Backend().Alias
		if _, behind := found.Aliases[alias]; behind {
			return hint.Add(fmt.Errorf("index %s is behind alias %s", s.index, alias), "take it out of the alias")
		}
	}
	return nil
}

// Get reads a document as it is now. One that does not exist, or whose index
// does not, is the zero Record.
func (s Store) Get(ctx context.Context, id string) (Record, error) {
	var found struct {
		Found       bool            `json:"found"`
		SeqNo       int64           `json:"_seq_no"`
		PrimaryTerm int64           `json:"_primary_term"`
		Source      json.RawMessage `json:"_source"`
	}
	err := s.target.Ask(ctx, http.MethodGet, "/"+url.PathEscape(s.index)+"/_doc/"+url.PathEscape(id), nil, &found)
	if cluster.IsMissing(err) || cluster.TypeOf(err) == cluster.DocumentMissing {
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
func (s Store) Put(ctx context.Context, id string, body []byte, last Record) (Record, error) {
	written, err := s.put(ctx, id, body, last)
	if err != nil {
		return Record{}, fmt.Errorf("write record %s: %w", id, err)
	}
	return written, nil
}

func (s Store) put(ctx context.Context, id string, body []byte, last Record) (written Record, err error) {
	request, err := putRequest(id, body, last)
	if err != nil {
		return Record{}, err
	}
	// An index that went away must not come back by itself, with another mapping.
	address := "/" + url.PathEscape(target.LoadingName(s.index)) + "/_bulk?require_alias=true"
	uncertain := false
	err = s.target.Retry(ctx, func(*cluster.Waits) (cause, err error) {
		reply, err := s.target.Bulk(ctx, address, request)
		switch {
		case err != nil:
			return nil, err
		case reply.Err != nil && reply.Class == cluster.Retry:
			uncertain = uncertain || reply.Uncertain
			return reply.Err, nil
		case reply.Err != nil:
			return nil, reply.Err
		}
		items, err := cluster.Items(reply.Body, 1)
		if err != nil {
			return nil, err
		}
		switch item := items[0]; {
		case item.Stored():
			written = Record{body, item.SeqNo, item.PrimaryTerm}
		case item.Status == http.StatusConflict && uncertain:
			written, err = s.written(ctx, id, body)
		case item.Status == http.StatusConflict:
			err = ErrChanged
		case item.Class() == cluster.Retry:
			uncertain, cause = true, item.Refusal()
		case item.Error.Type == cluster.IndexMissing:
			err = hint.Add(item.Refusal(), "somebody removed the checkpoint's index: what is done is not known any more. A new checkpoint looks at every node again, and sends only what is not there")
		default:
			err = item.Refusal()
		}
		return cause, err
	})
	return written, err
}

// written tells whether an attempt whose answer was lost has made the version
// that is there.
func (s Store) written(ctx context.Context, id string, body []byte) (Record, error) {
	found, err := s.Get(ctx, id)
	if err == nil && !bytes.Equal(found.Body, body) {
		err = ErrChanged
	}
	return found, err
}

// Change makes a new version of a document out of the present one, nil if there
// is none, again if somebody else was faster. Where change returns nil, the
// document stays. It returns the document that is there in the end.
func (s Store) Change(ctx context.Context, id string, change func(old []byte) ([]byte, error)) ([]byte, error) {
	for {
		old, err := s.Get(ctx, id)
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
		if _, err = s.Put(ctx, id, body, old); !errors.Is(err, ErrChanged) {
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
		fmt.Fprintf(&request, `{"index":{"_id":%s,"if_seq_no":%d,"if_primary_term":%d}}`, name, last.seqNo, last.primaryTerm)
	}
	if bytes.IndexByte(body, '\n') >= 0 {
		return nil, errors.New("the document has more than one line")
	}
	request.WriteByte('\n')
	request.Write(body)
	request.WriteByte('\n')
	return request.Bytes(), nil
}
