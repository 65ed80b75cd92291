package sim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// trouble lets a step happen that somebody will be sorry for.
func (w *world) trouble(s step) error {
	f := w.model.facts[s.id]
	switch s.do {
	case early:
		return w.writeEarly(s)
	case mistake:
		for _, v := range []*version{f.written, f.row, f.kept} {
			if v != nil {
				return w.mistake(node.DayOf(v.at))
			}
		}
	case empty:
		if w.model.switched != 0 && w.shape == table && f.row != nil {
			n := node.DayOf(f.row.at)
			w.model.removed(n, node.DayOf)
			return w.deleteRowsBetween(w.ctx, n.Start(), n.End())
		}
	case truncate:
		if w.model.switched != 0 {
			w.model.removed(0, func(int64) node.Day { return 0 })
			return w.deleteRowsBetween(w.ctx, node.MinDay.Start(), node.MaxDay.End())
		}
	case spoil:
		w.model.spoiled = true
		if s.spoil < dayFiltered {
			return w.spoilTemplate(s.spoil)
		}
		if f.row != nil {
			return w.spoilAlias(s.spoil, node.DayOf(f.row.at))
		}
	}
	return nil
}

// writeEarly has Sentry write a new id to OpenSearch although nobody has named
// the switch.
func (w *world) writeEarly(s step) error {
	f := w.model.facts[s.id]
	if w.model.switched != 0 || f.history != nil || f.written != nil {
		return nil
	}
	if w.model.early == 0 {
		w.model.early = w.now()
	}
	v := w.version(s, w.now())
	days, err := w.indices(w.ctx)
	if err != nil {
		return err
	}
	if day := node.DayOf(v.at); !slices.Contains(days, day) { // Sentry makes the index
		w.model.foreign[day] = true
	}
	w.model.wrote(s.id, v)
	return w.writeDocument(w.ctx, s.id, v)
}

func (w *world) mistake(n node.Day) error {
	days, err := w.indices(w.ctx)
	if err != nil || !slices.Contains(days, n) {
		return err
	}
	w.model.dropped(n, w.now())
	return w.dropIndex(w.ctx, n)
}

// spoilTemplate changes the template, so that new indices get something wrong.
func (w *world) spoilTemplate(s spoilage) error {
	path := "/_index_template/" + w.alias
	var found struct {
		Templates []struct {
			Template map[string]any `json:"index_template"`
		} `json:"index_templates"`
	}
	if _, err := w.request(w.ctx, http.MethodGet, path, nil, &found); err != nil {
		return err
	}
	body := found.Templates[0].Template
	inner := body["template"].(map[string]any)
	switch s {
	case filtered:
		inner["aliases"] = map[string]any{w.alias: map[string]any{"filter": nobody()}}
	case unaliased:
		delete(inner, "aliases")
	case unstored:
		properties := inner["mappings"].(map[string]any)["properties"].(map[string]any)
		properties["data"] = map[string]any{"type": "keyword", "index": false, "doc_values": false}
	case piped:
		settings := maps.Clone(inner["settings"].(map[string]any)["index"].(map[string]any))
		settings["default_pipeline"] = w.alias
		inner["settings"] = map[string]any{"index": settings}
	}
	_, err := w.request(w.ctx, http.MethodPut, path, body, nil)
	return err
}

// nobody is a filter that nothing passes.
func nobody() map[string]any { return map[string]any{"term": map[string]any{"_id": "nobody"}} }

// spoilAlias hides the index of a day from those who read through the alias.
func (w *world) spoilAlias(s spoilage, n node.Day) error {
	action, change := "remove", map[string]any{"index": w.indexOf(n), "alias": w.alias}
	if s == dayFiltered {
		action, change["filter"] = "add", nobody()
	}
	body := map[string]any{"actions": []any{map[string]any{action: change}}}
	_, err := w.request(w.ctx, http.MethodPost, "/_aliases", body, nil, http.StatusNotFound)
	if err != nil {
		return fmt.Errorf("spoil the alias: %w", err)
	}
	return nil
}
