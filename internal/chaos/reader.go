package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// read is Sentry's: a search through the alias by id, and, if that finds exactly
// one document, a get of its data.
func (s *sentry) read(ctx context.Context, id string) (places []string, got sum, err error) {
	var found struct {
		Hits struct {
			Hits []struct {
				Index string `json:"_index"`
			}
		}
	}
	if err := s.ask(ctx, http.MethodPost, "/"+s.alias+"/_search?allow_partial_search_results=false", termOf(id), &found); err != nil {
		return nil, got, err
	}
	for _, hit := range found.Hits.Hits {
		places = append(places, hit.Index)
	}
	if len(places) != 1 {
		return places, got, nil
	}
	var document struct{ Fields struct{ Data []string } }
	if err := s.ask(ctx, http.MethodGet, "/"+places[0]+"/_doc/"+url.PathEscape(id)+"?stored_fields=data", nil, &document); err != nil {
		return places, got, err
	}
	if len(document.Fields.Data) != 1 {
		return places, got, nil
	}
	return places, innerOf(document.Fields.Data[0]), nil
}

// innerOf is unreadable if data cannot be decoded to its end.
func innerOf(data string) sum {
	stream, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return unreadable
	}
	inflated, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil {
		return unreadable
	}
	inner, err := io.ReadAll(inflated)
	if err != nil {
		return unreadable
	}
	return sha256.Sum256(inner)
}

// comparison is what an independent reader finds wrong.
type comparison struct {
	nodes, lost, doubled, resurrected, wrong, settings int
	notes                                              []string
}

func (c *comparison) problems() int {
	return c.lost + c.doubled + c.resurrected + c.wrong + c.settings
}

func (c *comparison) note(n *int, format string, args ...any) {
	*n++
	if len(c.notes) < 8 {
		c.notes = append(c.notes, fmt.Sprintf(format, args...))
	}
}

// compare reads every id ever used, as Sentry does.
func (s *sentry) compare(ctx context.Context) (c comparison, err error) {
	if err := s.ask(ctx, http.MethodPost, "/"+s.alias+"-*/_refresh", nil, nil); err != nil {
		return c, err
	}
	rows, err := s.rows(ctx)
	if err != nil {
		return c, err
	}
	var counted struct{ Count int }
	if err := s.ask(ctx, http.MethodGet, "/"+s.alias+"/_count", nil, &counted); err != nil {
		return c, err
	}
	for _, id := range s.ids {
		places, got, err := s.read(ctx, id)
		if err != nil {
			return c, err
		}
		counted.Count -= len(places)
		want, ok := rows[id]
		if now, sentrys := s.written[id]; sentrys {
			want, ok = now, true
		}
		ok = ok && !s.removed[id] && want != unreadable
		c.nodes++
		switch {
		case len(places) > 1:
			c.note(&c.doubled, "doubled: %s in %q", id, places)
		case ok && len(places) == 0:
			c.note(&c.lost, "lost: %s", id)
		case !ok && len(places) > 0:
			c.note(&c.resurrected, "resurrected: %s in %q (removed by Sentry: %t)", id, places, s.removed[id])
		case ok && got != want:
			c.note(&c.wrong, "other bytes: %s in %q", id, places)
		}
	}
	if counted.Count != 0 {
		c.note(&c.resurrected, "%d documents of ids that nobody used", counted.Count)
	}
	return c, s.settings(ctx, &c)
}

// rows are the inner bytes of the table as it is now, each by its sum.
func (s *sentry) rows(ctx context.Context) (map[string]sum, error) {
	conn, err := pgx.Connect(ctx, s.direct(s.database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select id, data from nodestore_node")
	if err != nil {
		return nil, err
	}
	found := make(map[string]sum)
	var id, data string
	_, err = pgx.ForEachRow(rows, []any{&id, &data}, func() error {
		found[id] = s.inner[sha256.Sum256([]byte(data))]
		return nil
	})
	return found, err
}

// settings looks for whatever the tool may have left on indices and aliases.
func (s *sentry) settings(ctx context.Context, c *comparison) error {
	var indices map[string]struct {
		Aliases  map[string]any
		Settings map[string]string
	}
	if err := s.ask(ctx, http.MethodGet, "/_all?flat_settings=true&expand_wildcards=all", nil, &indices); err != nil {
		return err
	}
	want := map[string]string{"index.codec": "best_compression", "index.number_of_shards": "1", "index.number_of_replicas": "1", "index.refresh_interval": "700ms"}
	server := []string{"index.creation_date", "index.provided_name", "index.uuid", "index.version.created", "index.replication.type"}
	for name, index := range indices {
		if strings.HasPrefix(name, ".") {
			continue // OpenSearch's own, such as that of the tasks that it has ended
		}
		if _, ok := index.Aliases[s.alias]; !ok || len(index.Aliases) != 1 {
			c.note(&c.settings, "index %s has aliases %v", name, index.Aliases)
		}
		for key, value := range want {
			if index.Settings[key] != value {
				c.note(&c.settings, "index %s has %s = %q", name, key, index.Settings[key])
			}
		}
		for key, value := range index.Settings {
			if _, ok := want[key]; !ok && !slices.Contains(server, key) {
				c.note(&c.settings, "index %s has %s = %q", name, key, value)
			}
		}
	}
	return nil
}
