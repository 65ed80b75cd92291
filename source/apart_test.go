package source

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// loseChunks deletes what TOAST has of the rows that a condition names: the
// server itself allows it for no table of that kind.
func (db database) loseChunks(condition string) {
	db.t.Helper()
	toast := db.exec("select reltoastrelid::regclass::text from pg_class where oid = 'nodestore_node'::regclass")[0][0]
	kind := "update pg_class set relkind = '%s' where oid = '" + toast + "'::regclass"
	db.exec(fmt.Sprintf(kind, "r"))
	// Chunks are numbered in the order of the rows that were inserted at once.
	db.exec(fmt.Sprintf(`delete from %[1]s where chunk_id in (select c.chunk_id from
		(select chunk_id, row_number() over (order by chunk_id) n from (select distinct chunk_id from %[1]s) d) c
		join (select id, row_number() over (order by ctid) n from nodestore_node) r using (n) where %[2]s)`, toast, condition))
	db.exec(fmt.Sprintf(kind, "t"))
	db.exec("vacuum " + toast) // deleted chunks can be read until then
}

// heard collects what an Apart hears.
type heard struct {
	nodes, bad map[string]int
	why        string
}

func hear() (*heard, Apart) {
	h := &heard{map[string]int{}, map[string]int{}, ""}
	return h, Apart{
		Node: func(n node.Node) error { h.nodes[string(n.ID)]++; return nil },
		Bad:  func(b Bad) error { h.bad[string(b.ID)]++; h.why = b.Why; return nil },
	}
}

func (h *heard) check(t *testing.T, nodes, bad int, why string) {
	t.Helper()
	for _, times := range slices.Concat(slices.Collect(maps.Values(h.nodes)), slices.Collect(maps.Values(h.bad))) {
		if times != 1 {
			t.Errorf("a row came %d times", times)
		}
	}
	if len(h.nodes) != nodes || len(h.bad) != bad || !strings.Contains(h.why, why) {
		t.Errorf("%d nodes and %d bad, want %d and %d: %q", len(h.nodes), len(h.bad), nodes, bad, h.why)
	}
}

// countCopies returns how many COPY statements a source has sent since.
func countCopies(s *Source) *atomic.Int64 {
	config, sent := s.pool.config.Copy(), new(atomic.Int64)
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return copyCounter{conn, sent}, err
	}
	s.pool.close()
	s.pool = newPool(config, 1, nil)
	return sent
}

type copyCounter struct {
	net.Conn
	sent *atomic.Int64
}

func (c copyCounter) Write(p []byte) (int, error) {
	c.sent.Add(int64(bytes.Count(p, []byte("copy (select"))))
	return c.Conn.Write(p)
}

// fullRows fills 2000 rows, half of them of one microsecond.
const fullRows = plain + `alter table nodestore_node alter column data set storage external;
	insert into nodestore_node select 'n' || i, repeat('x', 3000), timestamptz '2024-01-01 00:00+00' + least(i, 1000) * interval '1 second' from generate_series(1, 2000) i;`

func TestLostChunksOfOneRowOrHalfOfThem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		condition string
		bad       int
		most      int64
	}{{"id = 'n77'", 1, 60}, {"id in ('n1500', 'n3')", 2, 120}, {"substr(id, 2)::int % 1000 < 500", 1000, 2500}, {"true", 2000, 5000}} {
		t.Run(test.condition, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(fullRows)
				db.loseChunks(test.condition)
				s := db.open("nodestore_node")
				d := day(t, "2024-01-01")
				ignore := func(node.Node) error { return nil }
				if err := s.Stream(t.Context(), d.Start(), d.End(), ignore); !Damaged(err) {
					t.Fatal(err)
				}
				asked := countCopies(s)
				h, apart := hear()
				err := s.StreamApart(t.Context(), Slice{From: d.Start(), To: d.End()}, apart)
				if h.check(t, 2000-test.bad, test.bad, "chunk number"); err != nil || asked.Load() > test.most {
					t.Errorf("%d statements, %v", asked.Load(), err)
				}
			})
		})
	}
}

func TestFetchApart(t *testing.T) {
	db := newest(t)
	db.exec(fullRows)
	db.loseChunks("id in ('n5', 'n1700')")
	s := db.open("nodestore_node")
	ids := []string{"gone", "nul\x00"}
	for i := range 1000 {
		ids = append(ids, "n"+strconv.Itoa(2*i+1), "n1700")
	}
	h, apart := hear()
	if err := s.FetchApart(t.Context(), ids, apart); err != nil {
		t.Error(err)
	}
	h.check(t, 999, 2, "chunk number")
	if err := s.FetchApart(t.Context(), []string{"nul\x00"}, apart); err != nil {
		t.Error(err)
	}
}

// A bad row among those that only ids tell apart, in a slice that is cut.
func TestLostChunksInABulkLoad(t *testing.T) {
	db := newest(t)
	db.exec(`create table nodestore_node (id text, data text, "timestamp" timestamptz); alter table nodestore_node alter column data set storage external;
		insert into nodestore_node select nullif(i, 7)::text, repeat('x', 3000), '2024-01-01 00:00+00' from generate_series(1, 500) i`)
	db.loseChunks("id in ('5', '300')")
	s := db.open("nodestore_node")
	d := day(t, "2024-01-01")
	spans, err := s.Slices(t.Context(), d.Start(), d.End(), 100_000)
	if err != nil || len(spans) != 1 || len(spans[0].Cuts) == 0 {
		t.Fatalf("%v, %v", spans, err)
	}
	h, apart := hear()
	if err := s.StreamApart(t.Context(), spans[0], apart); err != nil {
		t.Error(err)
	}
	h.check(t, 498, 2, "chunk number")
}

// A server without an encoding stores any byte, and cannot give it as UTF-8.
func TestInvalidByte(t *testing.T) {
	db := newest(t)
	name := strings.TrimPrefix(db.exec("select current_database()")[0][0], "test") + "_ascii"
	db.exec(`create database "` + name + `" encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0`)
	t.Cleanup(func() {
		if _, err := db.conn.Exec(context.Background(), `drop database "`+name+`" with (force)`).ReadAll(); err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/" + name
	ascii := connect(t, address.String())
	ascii.exec(plain + `insert into nodestore_node select 'n' || i, case i when 40 then E'a\xff' else 'a' end, timestamptz '2024-01-01 00:00+00' + i * interval '1 second' from generate_series(1, 100) i`)
	h, apart := hear()
	d := day(t, "2024-01-01")
	if err := ascii.open("nodestore_node").StreamApart(t.Context(), Slice{From: d.Start(), To: d.End()}, apart); err != nil {
		t.Error(err)
	}
	h.check(t, 99, 1, "invalid byte sequence")
}

// TestBrokenPages writes over blocks of the files of a server of its own: of
// the heap, where not even the ids of a block's rows can be read, and of the
// index on timestamp, where no time can.
func TestBrokenPages(t *testing.T) {
	t.Parallel()
	server := testservers.OwnPostgres(t, testbed.PostgresOptions{Settings: map[string]string{"autovacuum": "off"}})
	connect(t, server.URL()).exec("create database whole")
	address := func(name string) string { return strings.Replace(server.URL(), "/postgres?", "/"+name+"?", 1) }
	filled := connect(t, address("whole"))
	filled.exec(fullRows + "checkpoint")
	paths := filled.exec(`select pg_relation_filepath('nodestore_node'), pg_relation_filepath('nodestore_node_timestamp_idx')`)[0]
	if err := filled.conn.Close(t.Context()); err != nil { // a template may not be in use
		t.Fatal(err)
	}
	breakPage := func(name, path string, block int64) *Source {
		connect(t, server.URL()).exec("create database " + name + " template whole strategy file_copy")
		db := connect(t, address("postgres"))
		oid := db.exec("select oid from pg_database where datname = '" + name + "'")[0][0]
		file, err := os.OpenFile(filepath.Join(server.Dir(), "data", "base", oid, filepath.Base(path)), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteAt(bytes.Repeat([]byte{0xff}, 8192), block*8192); err != nil {
			t.Fatal(err)
		}
		return connect(t, address(name)).open("nodestore_node")
	}
	d := day(t, "2024-01-01")

	s := breakPage("heap", paths[0], 0)
	h, apart := hear()
	lost := 0
	apart.Bad = func(b Bad) error { lost++; h.why = b.Why; return nil }
	spans, err := s.Slices(t.Context(), d.Start(), d.End(), 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	checkCover(t, spans, d.Start(), d.End())
	for _, span := range spans {
		if err := s.StreamApart(t.Context(), span, apart); err != nil {
			t.Error(err)
		}
	}
	h.check(t, 2000-lost, 0, "invalid page in block 0")
	if lost < 50 || lost > 500 {
		t.Errorf("%d rows lost on one page", lost)
	}
	checkAroundABrokenPage(t, s, lost)

	h, apart = hear()
	err = breakPage("index", paths[1], 1).StreamApart(t.Context(), Slice{From: d.Start(), To: d.End()}, apart)
	if !Damaged(err) || !strings.Contains(hint.Of(err), "REINDEX") {
		t.Errorf("%d bad, %v", len(h.bad), err)
	}
}

// checkAroundABrokenPage wants what else is asked about a day to be answered for
// the rest of it. The rows of the page are the day's first, one a second.
func checkAroundABrokenPage(t *testing.T, s *Source, lost int) {
	t.Helper()
	d := day(t, "2024-01-01")
	entries, bad := 0, 0
	err := s.EntriesApart(t.Context(), Slice{From: minMicros, To: math.MaxInt64}, func(Entry) error { entries++; return nil }, func(Bad) error { bad++; return nil })
	if err != nil || entries != 2000-lost || bad != lost {
		t.Errorf("%d entries, %d bad, %v", entries, bad, err)
	}
	moments, err := s.Moments(t.Context(), minMicros, math.MaxInt64)
	rows, unreadable := int64(0), 0
	for _, m := range moments {
		if rows += m.Count; m.Unreadable {
			unreadable++
		}
	}
	if err != nil || unreadable != lost/60+1 || !moments[d.Start()].Unreadable || rows+int64(60*unreadable-1) != 2000 {
		t.Errorf("%d of %d minutes with %d rows are unreadable, %v", unreadable, len(moments), rows, err)
	}
	days, err := s.Days(t.Context(), minMicros, math.MaxInt64)
	if err != nil || len(days) != 1 || days[0].Day != d || !Damaged(days[0].Unreadable) {
		t.Errorf("%v, %v", days, err)
	}
}
