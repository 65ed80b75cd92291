package sim

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// sentry does what Sentry does, at the source and at the target.
type sentry struct {
	sql      *pgx.Conn
	relation string // what Sentry writes to
	shape    shape
	target   string // URL
	alias    string // daily indices are alias-DATE
}

// nodeID is the id that Sentry knows number n by.
func nodeID(n int) string { return fmt.Sprintf("%032x", n) }

// encoded is a payload as Sentry stores it.
func encoded(inner string) string {
	var stream bytes.Buffer
	w := zlib.NewWriter(&stream)
	_, _ = io.WriteString(w, inner) // a buffer takes everything
	_ = w.Close()
	return base64.StdEncoding.EncodeToString(stream.Bytes())
}

// createTable makes the relation, and returns the name to read it by.
func (s *sentry) createTable(ctx context.Context) (string, error) {
	sql := `create table %[1]s (id varchar(40) primary key, data text not null, "timestamp" timestamptz not null);
		create index on %[1]s ("timestamp")`
	name := s.relation
	if s.shape == view {
		sql = `create table %[1]s (id varchar(40) not null, data text not null, "timestamp" timestamptz not null);
			create index on %[1]s ("timestamp"); create view %[1]s_view as select id, data, "timestamp" from %[1]s`
		name += "_view"
	}
	_, err := s.sql.Exec(ctx, fmt.Sprintf(sql, s.relation))
	return name, err
}

func (s *sentry) writeRow(ctx context.Context, id int, v version) error {
	sql := `insert into %s (id, data, "timestamp") values ($1, $2, $3)`
	if s.shape == table {
		sql += ` on conflict (id) do update set data = excluded.data, "timestamp" = excluded."timestamp"`
	}
	_, err := s.sql.Exec(ctx, fmt.Sprintf(sql, s.relation), nodeID(id), encoded(v.inner), time.UnixMicro(v.at).UTC())
	return err
}

func (s *sentry) deleteRow(ctx context.Context, id int) error {
	_, err := s.sql.Exec(ctx, fmt.Sprintf(`delete from %s where id = $1`, s.relation), nodeID(id))
	return err
}

func (s *sentry) deleteRowsBefore(ctx context.Context, cutoff int64) error {
	_, err := s.sql.Exec(ctx, fmt.Sprintf(`delete from %s where "timestamp" < $1`, s.relation), time.UnixMicro(cutoff).UTC())
	return err
}

func (s *sentry) deleteRowsBetween(ctx context.Context, from, to int64) error {
	_, err := s.sql.Exec(ctx, fmt.Sprintf(`delete from %s where "timestamp" >= $1 and "timestamp" < $2`, s.relation), time.UnixMicro(from).UTC(), time.UnixMicro(to).UTC())
	return err
}

// request is attempt, again as long as the server has too much to do.
func (s *sentry) request(ctx context.Context, method, path string, body, answer any, allowed ...int) (int, error) {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		status, err := s.attempt(ctx, method, path, body, answer, allowed...)
		if status != http.StatusTooManyRequests {
			return status, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// attempt asks OpenSearch and decodes its answer. A status in allowed is not an error.
func (s *sentry) attempt(ctx context.Context, method, path string, body, answer any, allowed ...int) (int, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.target+path, bytes.NewReader(content))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if content, err = io.ReadAll(response.Body); err != nil {
		return 0, err
	}
	if response.StatusCode >= http.StatusMultipleChoices && !slices.Contains(allowed, response.StatusCode) {
		return response.StatusCode, fmt.Errorf("%s %s: status %d: %s", method, path, response.StatusCode, content)
	}
	if answer == nil || response.StatusCode >= http.StatusMultipleChoices {
		return response.StatusCode, nil
	}
	return response.StatusCode, json.Unmarshal(content, answer)
}

// writeDocument is the backend's write: a plain index operation, by name, into
// the index of its own today. A second later a search sees it.
func (s *sentry) writeDocument(ctx context.Context, id int, v version) error {
	path := "/" + s.indexOf(node.DayOf(v.at)) + "/_doc/" + url.PathEscape(nodeID(id)) + "?refresh=true"
	_, err := s.request(ctx, http.MethodPut, path, map[string]string{
		"data": encoded(v.inner), "timestamp": time.UnixMicro(v.at).UTC().Format("2006-01-02T15:04:05.000000-07:00"),
	}, nil, http.StatusBadRequest) // where somebody named a pipeline that is not there
	return err
}

// deleteDocument is the backend's delete, and the second until searches see it.
func (s *sentry) deleteDocument(ctx context.Context, id int) error {
	found, err := s.find(ctx, id)
	if err != nil || len(found) == 0 {
		return err
	}
	_, err = s.request(ctx, http.MethodPost, "/"+s.alias+"/_delete_by_query?conflicts=proceed",
		map[string]any{"query": map[string]any{"term": map[string]any{"_id": nodeID(id)}}}, nil, http.StatusNotFound, http.StatusConflict)
	if err == nil {
		_, err = s.request(ctx, http.MethodPost, "/"+strings.Join(found, ",")+"/_refresh", nil, nil, http.StatusNotFound)
	}
	return err
}

func (s *sentry) indexOf(n node.Day) string { return s.alias + "-" + n.String() }

// indices are the names behind the alias with their days, as the backend's
// cleanup reads them: parts 1 to 3 of the name are a date.
func (s *sentry) indices(ctx context.Context) ([]node.Day, error) {
	var found map[string]any
	if _, err := s.request(ctx, http.MethodGet, "/_alias/"+s.alias, nil, &found, http.StatusNotFound); err != nil {
		return nil, err
	}
	var days []node.Day
	for name := range found {
		parts := strings.SplitN(name, "-", 4)
		n, err := node.ParseDay(strings.Join(parts[1:], "-"))
		if err != nil {
			return nil, err
		}
		days = append(days, n)
	}
	slices.Sort(days)
	return days, nil
}

func (s *sentry) dropIndex(ctx context.Context, n node.Day) error {
	_, err := s.request(ctx, http.MethodDelete, "/"+s.indexOf(n), nil, nil, http.StatusNotFound)
	return err
}

// sight is what Sentry sees of an id.
type sight struct {
	indices []string // where its search finds it
	inner   string   // what it reads, if there is exactly one
}

// find returns the indices in which a search through the alias finds an id.
func (s *sentry) find(ctx context.Context, id int) (indices []string, err error) {
	var found struct {
		Hits struct {
			Hits []struct {
				Index string `json:"_index"`
			}
		}
	}
	query := map[string]any{"query": map[string]any{"term": map[string]any{"_id": nodeID(id)}}}
	_, err = s.request(ctx, http.MethodPost, "/"+s.alias+"/_search", query, &found, http.StatusNotFound)
	for _, hit := range found.Hits.Hits {
		indices = append(indices, hit.Index)
	}
	return indices, err
}

// read is the backend's read: a search through the alias, and if that finds one
// document, a get of its data.
func (s *sentry) read(ctx context.Context, id int) (seen sight, err error) {
	seen.indices, err = s.find(ctx, id)
	if err != nil || len(seen.indices) != 1 {
		return seen, err
	}
	var got struct{ Fields struct{ Data []string } }
	_, err = s.request(ctx, http.MethodGet, "/"+seen.indices[0]+"/_doc/"+url.PathEscape(nodeID(id))+"?stored_fields=data", nil, &got, http.StatusNotFound)
	if err != nil || len(got.Fields.Data) != 1 {
		return seen, err
	}
	inner, err := node.Decode(nil, []byte(got.Fields.Data[0]))
	seen.inner = string(inner)
	return seen, err
}
