package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// document is the first of the two lines that a bulk has for each document.
type document struct {
	operation string // index or create
	ID        string `json:"_id"`
	Version   int64  `json:"version"` // 0: the cluster's own, which begins with 1
}

// parseBulk reads the first lines. An operation without a document is refused: the tool
// copies without any, so the sink does not know it.
func parseBulk(body []byte) (documents []document, err error) {
	for len(body) > 0 {
		action, rest, _ := bytes.Cut(body, []byte("\n"))
		source, rest, ended := bytes.Cut(rest, []byte("\n"))
		if !ended || len(source) == 0 {
			return nil, errors.New("a bulk does not end with a document and a line's end")
		}
		body = rest
		d, err := parseAction(action)
		if err != nil {
			return nil, err
		}
		documents = append(documents, d)
	}
	return documents, nil
}

func parseAction(line []byte) (document, error) {
	var action struct{ Index, Create *document }
	if err := json.Unmarshal(line, &action); err != nil {
		return document{}, fmt.Errorf("read an action: %w", err)
	}
	switch {
	case action.Index != nil && action.Create == nil:
		action.Index.operation = "index"
		return *action.Index, nil
	case action.Create != nil && action.Index == nil:
		action.Create.operation = "create"
		return *action.Create, nil
	}
	return document{}, errors.New("an action is neither index nor create")
}

// itemFields are what a cluster says of each document that was new, in its order.
func itemFields() []itemField {
	return []itemField{
		{"_index", func(dst []byte, index string, _ document) []byte { return appendText(dst, index) }},
		{"_id", func(dst []byte, _ string, d document) []byte { return appendText(dst, d.ID) }},
		{"_version", func(dst []byte, _ string, d document) []byte { return strconv.AppendInt(dst, max(d.Version, 1), 10) }},
		{"result", func(dst []byte, _ string, _ document) []byte { return append(dst, `"created"`...) }},
		{"_shards", func(dst []byte, _ string, _ document) []byte {
			return append(dst, `{"total":1,"successful":1,"failed":0}`...)
		}},
		{"status", func(dst []byte, _ string, _ document) []byte { return append(dst, "201"...) }},
	}
}

type itemField struct {
	name   string
	append func(dst []byte, index string, d document) []byte
}

// answerBulk is the answer to a bulk of which all was new: whole, or what a filter_path
// leaves of it. A bulk to the name that a day is loaded through is told of by the index's own.
func answerBulk(name string, documents []document, filterPath string) []byte {
	index := strings.TrimPrefix(name, target.LoadingName(""))
	paths := strings.Split(filterPath, ",")
	wanted := func(path string) bool { return filterPath == "" || slices.Contains(paths, path) }
	fields := slices.DeleteFunc(itemFields(), func(f itemField) bool { return !wanted("items.*." + f.name) })
	var parts [][]byte
	if wanted("took") {
		parts = append(parts, []byte(`"took":1`))
	}
	if wanted("errors") {
		parts = append(parts, []byte(`"errors":false`))
	}
	if len(fields) > 0 {
		parts = append(parts, appendItems([]byte(`"items":[`), index, documents, fields))
	}
	return append(append([]byte("{"), bytes.Join(parts, []byte(","))...), '}')
}

func appendItems(dst []byte, index string, documents []document, fields []itemField) []byte {
	for i, d := range documents {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"`...), d.operation...), `":{`...)
		for k, f := range fields {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(append(dst, '"'), f.name...), `":`...)
			dst = f.append(dst, index, d)
		}
		dst = append(dst, "}}"...)
	}
	return append(dst, ']')
}

func appendText(dst []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // a string always encodes
	return append(dst, quoted...)
}
