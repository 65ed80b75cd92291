package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
)

type sum = [sha256.Size]byte

// unreadable is the sum of the inner bytes of a row that no reader of OpenSearch
// can read.
var unreadable sum

// sentry is what Sentry does on both sides, directly, and what it must see.
type sentry struct {
	*servers
	database, alias string
	compact         string      // as --compact has it
	pool            []synth.Row // payloads to write
	good            []synth.Row // those of them that can be read
	inner           map[sum]sum // of the column's text: of its inner bytes

	mu      sync.Mutex
	ids     []string       // ever used
	used    map[string]int // where they are in ids
	written map[string]sum // to OpenSearch since the switch: what its inner bytes are
	removed map[string]bool
}

func newSentry(on *servers, name string, seed uint64) *sentry {
	s := &sentry{
		servers: on, database: name, alias: name, inner: make(map[sum]sum),
		used: make(map[string]int), written: make(map[string]sum), removed: make(map[string]bool),
	}
	s.compact = "never" // it waits for half a minute
	if seed%3 == 0 {
		s.compact = "now"
	}
	mix := synth.Everything()
	if seed%2 == 0 { // else nodes are rejected, too
		mix[synth.Pickle], mix[synth.Empty], mix[synth.CorruptBase64], mix[synth.CorruptZlib] = 0, 0, 0, 0
	}
	from := time.Now().UTC().Truncate(24 * time.Hour)
	for row := range synth.Rows(synth.Options{Seed: seed, Rows: 600, From: from.AddDate(0, 0, -4), Until: from.Add(-time.Hour), Mix: mix, Distinct: 60}) {
		s.pool = append(s.pool, row)
		sum := unreadable
		if row.Kind.Readable() {
			s.good = append(s.good, row)
			sum = sha256.Sum256(row.Inner)
		}
		s.inner[sha256.Sum256([]byte(row.Data))] = sum
	}
	return s
}

func (s *sentry) know(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[id]; !ok {
		s.used[id] = len(s.ids)
		s.ids = append(s.ids, id)
	}
}

func (s *sentry) any(rng *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[rng.IntN(len(s.ids))]
}

func newID(rng *rand.Rand) string { return fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()) }

// template is the one of the backend, with a refresh interval of its own.
func (s *sentry) template(alias string) map[string]any {
	return map[string]any{
		"index_patterns": []string{s.alias + "-*"},
		"template": map[string]any{
			"settings": map[string]any{"index": map[string]any{
				"codec": "best_compression", "number_of_shards": "1", "number_of_replicas": "1", "refresh_interval": "700ms",
			}},
			"mappings": map[string]any{
				"_source": map[string]any{"enabled": false}, "dynamic": false,
				"properties": map[string]any{
					"data":      map[string]any{"type": "keyword", "index": false, "store": true, "doc_values": false},
					"timestamp": map[string]any{"type": "date"},
				},
			},
			"aliases": map[string]any{alias: map[string]any{}},
		},
	}
}

// prepare makes the database, the table with rows of past days, and the template.
func (s *sentry) prepare(ctx context.Context, rows int, rng *rand.Rand) error {
	if err := s.execute(ctx, "postgres", "create database "+s.database); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.direct(s.database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := synth.CreateTable(ctx, conn, "nodestore_node"); err != nil {
		return err
	}
	for range (rows + len(s.pool) - 1) / len(s.pool) {
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"nodestore_node"}, []string{"id", "data", "timestamp"},
			pgx.CopyFromSlice(len(s.pool), func(i int) ([]any, error) {
				id := newID(rng)
				s.know(id)
				return []any{id, s.pool[i].Data, s.pool[i].Timestamp}, nil
			}))
		if err != nil {
			return err
		}
	}
	return s.ask(ctx, http.MethodPut, "/_index_template/"+s.alias, s.template(s.alias), nil)
}

func (s *sentry) cleanUp(ctx context.Context) error {
	err := s.ask(ctx, http.MethodDelete, "/"+s.alias+"-*", nil, nil)
	return errors.Join(err, s.ask(ctx, http.MethodDelete, "/_index_template/"+s.alias, nil, nil),
		s.execute(ctx, "postgres", "drop database if exists "+s.database+" with (force)"))
}

func (s *sentry) execute(ctx context.Context, database, statement string, args ...any) error {
	conn, err := pgx.Connect(ctx, s.direct(database)+"&application_name=sentry")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement, args...)
	return err
}

const upsert = `insert into nodestore_node (id, data, "timestamp") values ($1, $2, $3)
	on conflict (id) do update set data = excluded.data, "timestamp" = excluded."timestamp"`

// work is Sentry until ctx ends: it writes, rewrites and deletes. A statement
// that fails because the server is away is not repeated: the table itself says
// at the end what was done.
func (s *sentry) work(ctx context.Context, rng *rand.Rand) {
	var conn *pgx.Conn
	for ctx.Err() == nil {
		if conn == nil || conn.IsClosed() {
			conn, _ = pgx.Connect(ctx, s.direct(s.database)+"&application_name=sentry")
		}
		if conn != nil {
			_ = s.act(ctx, conn, rng)
		}
		pause(ctx, time.Duration(20+rng.IntN(120))*time.Millisecond)
	}
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
	}
}

func (s *sentry) act(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	id, data := newID(rng), s.pool[rng.IntN(len(s.pool))].Data
	switch n := rng.IntN(10); {
	case n < 6:
		s.know(id)
	case n < 8:
		id, data = s.any(rng), s.good[rng.IntN(len(s.good))].Data
	default:
		_, err := conn.Exec(ctx, "delete from nodestore_node where id = $1", s.any(rng))
		return err
	}
	_, err := conn.Exec(ctx, upsert, id, data, time.Now())
	return err
}

// lag commits rows some seconds after their timestamps, until ctx ends. The last
// of these transactions ends later than ctx: it was begun before the switch.
func (s *sentry) lag(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		_ = s.lagOnce(context.WithoutCancel(ctx), rng)
		pause(ctx, 100*time.Millisecond)
	}
}

func (s *sentry) lagOnce(ctx context.Context, rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, overlap/2) // much later would be later than the tool promises for
	defer cancel()
	conn, err := pgx.Connect(ctx, s.direct(s.database)+"&application_name=sentry")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	for range 1 + rng.IntN(3) {
		id := newID(rng)
		s.know(id)
		if _, err := tx.Exec(ctx, upsert, id, s.good[rng.IntN(len(s.good))].Data, time.Now()); err != nil {
			return err
		}
	}
	pause(ctx, time.Duration(rng.Int64N(int64(overlap/4))))
	return tx.Commit(ctx)
}

// workAtTarget is Sentry after the switch: it writes new nodes and rewrites old
// ones, into the index of today.
func (s *sentry) workAtTarget(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		id := newID(rng)
		if rng.IntN(3) == 0 {
			id = s.any(rng)
		}
		s.know(id)
		s.store(context.WithoutCancel(ctx), id, s.good[rng.IntN(len(s.good))])
		pause(ctx, time.Duration(50+rng.IntN(400))*time.Millisecond)
	}
}

// store is the backend's write, repeated until the server has taken it.
func (s *sentry) store(ctx context.Context, id string, row synth.Row) {
	var stream bytes.Buffer
	w := zlib.NewWriter(&stream)
	_, _ = w.Write(row.Inner) // a buffer takes everything
	_ = w.Close()
	s.mu.Lock()
	s.written[id] = sha256.Sum256(row.Inner)
	s.mu.Unlock()
	for range 600 {
		now := time.Now().UTC()
		err := s.ask(ctx, http.MethodPut, "/"+s.alias+"-"+now.Format(time.DateOnly)+"/_doc/"+url.PathEscape(id), map[string]string{
			"data": base64.StdEncoding.EncodeToString(stream.Bytes()), "timestamp": now.Format("2006-01-02T15:04:05.000000-07:00"),
		}, nil)
		if err == nil {
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// erase is the backend's delete of an id.
func (s *sentry) erase(ctx context.Context, id string) error {
	s.removed[id] = true
	return s.ask(ctx, http.MethodPost, "/"+s.alias+"/_delete_by_query?refresh=true", termOf(id), nil)
}

func termOf(id string) map[string]any {
	return map[string]any{"query": map[string]any{"term": map[string]any{"_id": id}}}
}

// ask asks OpenSearch itself.
func (s *sentry) ask(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		content = nil
	}
	request, err := http.NewRequestWithContext(ctx, method, s.http.backend.Load().(string)+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	if content, err = io.ReadAll(got.Body); err != nil {
		return err
	}
	if got.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: status %d: %.300s", method, path, got.StatusCode, content)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(content, into)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
