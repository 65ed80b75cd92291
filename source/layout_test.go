package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// scripted is what partitioning scripts in the field make: daily partitions of
// bytea, BRIN on timestamp, no B-tree, a view over them, ids that repeat.
func scripted(days int) string {
	var sql strings.Builder
	sql.WriteString(`create table nodestore_node_new (id varchar(40) not null, data bytea not null, "timestamp" timestamptz not null) partition by range ("timestamp");
		create index on nodestore_node_new using brin ("timestamp");
		create view nodestore_node as select id, encode(data, 'base64') as data, "timestamp" from nodestore_node_new;`)
	for i := range days {
		fmt.Fprintf(&sql, `create table nodestore_node_%[1]d partition of nodestore_node_new
			for values from (timestamptz '2024-01-01 00:00+00' + interval '%[1]d days') to (timestamptz '2024-01-02 00:00+00' + interval '%[1]d days');`, i)
	}
	fmt.Fprintf(&sql, `insert into nodestore_node_new select md5((i %% 1000)::text), repeat('x', 300)::bytea, timestamptz '2024-01-01 00:00+00' + i * interval '1 minute' from generate_series(0, %d) i;`, days*1440-1)
	return sql.String()
}

func TestDailyPartitionsWithoutABTree(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(scripted(30))
		db.exec("analyze")
		for _, table := range []string{"nodestore_node", "nodestore_node_new"} {
			s := db.open(table)
			if r := s.Relation(); r.TimestampIndexed || !r.Prunes || r.UniqueID || r.IDIndexed {
				t.Errorf("%+v", r)
			}
			d := day(t, "2024-01-12")
			plans, err := s.explain(t.Context(), table, s.sql.settings+"explain (verbose, format json) select 1 from "+s.sql.relation+" where "+inRange(d.Start(), d.End()))
			if err != nil || len(plans) != 1 {
				t.Fatalf("%v, %v", plans, err)
			}
			for _, step := range plans[0].steps() {
				if step.Relation != "" && step.Relation != "nodestore_node_11" {
					t.Errorf("%s reads %s", table, step.Relation)
				}
			}
			spans, err := s.Slices(t.Context(), d.Start(), d.End(), 10_000)
			if err != nil {
				t.Fatal(err)
			}
			if rows, _ := checkCover(t, spans, d.Start(), d.End()); rows != 1440 {
				t.Errorf("%d rows in slices", rows)
			}
			if days, err := s.Days(t.Context(), minMicros, maxMicros); err != nil || len(days) != 30 {
				t.Errorf("%d days, %v", len(days), err)
			}
		}
	})
}

func TestWhatDoesNotPrune(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]string{
		"plain":        `create table nodestore_node (id text, data text, "timestamp" timestamptz)`,
		"only BRIN":    `create table nodestore_node (id text, data text, "timestamp" timestamptz); create index on nodestore_node using brin ("timestamp")`,
		"by hash":      `create table nodestore_node (id text, data text, "timestamp" timestamptz) partition by hash (id); create table a partition of nodestore_node for values with (modulus 2, remainder 0)`,
		"no partition": `create table nodestore_node (id text, data text, "timestamp" timestamptz) partition by range ("timestamp")`,
		"one default":  `create table nodestore_node (id text, data text, "timestamp" timestamptz) partition by range ("timestamp"); create table a partition of nodestore_node default`,
		"by text":      `create table nodestore_node (id text, data text, "timestamp" timestamptz) partition by range (id); create table a partition of nodestore_node for values from ('a') to ('b')`,
	} {
		t.Run(name, func(t *testing.T) {
			db := newest(t)
			db.exec(schema)
			if r := db.open("nodestore_node").Relation(); r.Prunes {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Partitions are detached and dropped while all sorts of questions are asked.
// Each is answered, or can be asked again.
func TestPartitionsThatAreDetachedMeanwhile(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		const days = 40
		db.exec(scripted(days))
		s := db.open("nodestore_node")
		s.version = 0 // ask once
		done := make(chan struct{})
		questions := []func() error{
			func() error { return s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error { return nil }) },
			func() error { _, err := s.Slices(t.Context(), minMicros, maxMicros, 1<<20); return err },
			func() error { _, err := s.Days(t.Context(), minMicros, maxMicros); return err },
			func() error { _, err := s.PlainCount(t.Context()); return err },
		}
		var asking errgroup.Group
		for _, ask := range questions {
			asking.Go(func() error {
				for {
					select {
					case <-done:
						return nil
					default:
					}
					if err := ask(); err != nil && !Retryable(err) {
						return err
					}
				}
			})
		}
		for i := range days {
			concurrently := ""
			if i%2 == 1 && db.exec("show server_version_num")[0][0] >= "140000" {
				concurrently = " concurrently"
			}
			db.exec(fmt.Sprintf("alter table nodestore_node_new detach partition nodestore_node_%d%s", i, concurrently))
			db.exec(fmt.Sprintf("drop table nodestore_node_%d", i))
		}
		close(done)
		if err := asking.Wait(); err != nil {
			t.Error(errors.Unwrap(err), err)
		}
	})
}
