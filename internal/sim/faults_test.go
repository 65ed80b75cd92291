package sim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// answer is what the tool gets to see.
type answer struct {
	status int
	kind   string // of its content
	body   []byte
}

// answer answers a request as OpenSearch does, or as a fault has it.
func (g *gate) answer(p *passing) (answer, error) {
	if refused, err := g.refusesToCreate(p); err != nil || refused {
		return p.items(http.StatusNotFound, map[string]any{
			"type": "index_not_found_exception", "reason": "no such index [" + p.index() + "] and [action.auto_create_index] is [false]",
			"index": p.index(), "index_uuid": "_na_",
		}), err
	}
	struck, f := g.strike(p)
	switch {
	case struck && f == page:
		return answer{http.StatusNotFound, "text/html", []byte("<html><body><h1>404 Not Found</h1></body></html>")}, nil
	case struck && f == busy:
		return p.items(http.StatusTooManyRequests, map[string]any{
			"type": "rejected_execution_exception", "reason": "rejected execution of primary operation",
		}), nil
	}
	a, err := g.forward(p)
	if struck && err == nil && a.status == http.StatusOK {
		a.body = cut(a.body, f)
	}
	return a, err
}

// strike takes the next fault that can befall the request.
func (g *gate) strike(p *passing) (bool, faulty) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, f := range g.faults {
		if f == page || f == busy && p.writes() || (f == timedOut || f == away) && strings.Contains(p.path, "/_search") {
			g.faults = slices.Delete(g.faults, i, i+1)
			return true, f
		}
	}
	return false, 0
}

func (p *passing) writes() bool { return strings.Contains(p.path, "/_bulk") }

// index is what a request is about: an index, or an alias.
func (p *passing) index() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(p.path, "/"), "/")
	return name
}

// refusesToCreate reports whether a request would create its index, where that
// is switched off.
func (g *gate) refusesToCreate(p *passing) (bool, error) {
	if !g.closed || !p.writes() || p.index() == "" || strings.Contains(p.path, "require_alias") {
		return false, nil
	}
	a, err := g.forward(&passing{method: http.MethodHead, path: "/" + p.index()})
	return a.status == http.StatusNotFound, err
}

// items is an answer to a bulk request in which each item has the same error.
func (p *passing) items(status int, cause map[string]any) answer {
	items := []map[string]any{}
	lines := bytes.Split(bytes.TrimSpace(p.body), []byte("\n"))
	for at := 0; at < len(lines); at++ {
		var action map[string]struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
		}
		if json.Unmarshal(lines[at], &action) != nil {
			continue
		}
		for verb, one := range action {
			items = append(items, map[string]any{verb: map[string]any{"_index": one.Index, "_id": one.ID, "status": status, "error": cause}})
			if verb != "delete" {
				at++ // the document
			}
		}
	}
	body, err := json.Marshal(map[string]any{"took": 1, "errors": true, "items": items})
	if err != nil {
		panic(err)
	}
	return answer{http.StatusOK, "application/json", body}
}

// cut makes the answer to a search one that lacks documents, as OpenSearch does:
// neither a shard that is not there nor one that ran out of time has failed.
func cut(body []byte, f faulty) []byte {
	var whole map[string]any
	if json.Unmarshal(body, &whole) != nil {
		return body
	}
	shards, _ := whole["_shards"].(map[string]any)
	total, _ := shards["total"].(float64)
	if total == 0 { // no index: nothing can be away
		return body
	}
	whole["timed_out"] = f == timedOut
	if f == away {
		shards["successful"] = total - 1
	}
	if hits, ok := whole["hits"].(map[string]any); ok {
		hits["hits"] = []any{}
		if _, counted := hits["total"]; counted {
			hits["total"] = map[string]any{"value": 0, "relation": "eq"}
		}
	}
	hollow(whole["aggregations"])
	body, err := json.Marshal(whole)
	if err != nil {
		panic(err)
	}
	return body
}

// hollow takes the buckets out of aggregations.
func hollow(aggregations any) {
	found, _ := aggregations.(map[string]any)
	for name, value := range found {
		if name == "buckets" {
			found[name] = []any{}
			continue
		}
		hollow(value)
	}
}
