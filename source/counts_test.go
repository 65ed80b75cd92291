package source

import (
	"fmt"
	"testing"
)

func TestPlainCountOfEveryShape(t *testing.T) {
	t.Parallel()
	for name, schema := range schemas() {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(schema)
				s := db.open("nodestore_node")
				if c, err := s.PlainCount(t.Context()); err != nil || c != (PlainCount{}) {
					t.Errorf("empty: %+v, %v", c, err)
				}
				db.exec(edges)
				want := PlainCount{Unbounded: 4}
				err := s.Keys(t.Context(), minMicros, maxMicros, func(_ []byte, micros int64) error {
					want.Rows++
					want.Sum += uint64(micros)
					return nil
				})
				if c, countErr := s.PlainCount(t.Context()); err != nil || countErr != nil || c != want {
					t.Errorf("got %+v, want %+v; %v, %v", c, want, err, countErr)
				}
			})
		})
	}
}

// hide inserts a row that the indexes on a column do not have.
func (db database) hide(column, values string) {
	db.t.Helper()
	ready := `update pg_index set indisready = %t where indrelid = 'nodestore_node'::regclass
		and indkey[0] = (select attnum from pg_attribute where attrelid = indrelid and attname = '%s')`
	db.exec(fmt.Sprintf(ready, false, column))
	db.exec("insert into nodestore_node values " + values)
	db.exec(fmt.Sprintf(ready, true, column))
}

func TestPlainCountSeesWhatTheIndexLacks(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain + `insert into nodestore_node select 'n' || i, 'x', '2024-01-01 00:00+00' from generate_series(1, 1000) i`)
		db.hide("timestamp", `('hidden', 'x', '2024-01-01 00:00+00')`)
		s := db.open("nodestore_node")
		if n, err := s.Count(t.Context(), minMicros, maxMicros); err != nil || n != 1000 {
			t.Fatalf("through the index: %d, %v", n, err)
		}
		if c, err := s.PlainCount(t.Context()); err != nil || c.Rows != 1001 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestLocateBetweenSeesWhatTheIndexOfIDsLacks(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain + `insert into nodestore_node select 'n' || i, 'x', '2024-01-01 00:00+00' from generate_series(1, 1000) i; analyze`)
		db.hide("id", `('hidden', 'x', '2024-01-02 00:00+00'), ('n1', 'y', '2024-01-02 00:00+00')`)
		s := db.open("nodestore_node")
		d := day(t, "2024-01-02")
		ids, rows := []string{"hidden", "n1", "nul\x00"}, map[string]int64{}
		see := func(id []byte, micros int64) error { rows[string(id)] = micros; return nil }
		if err := s.Locate(t.Context(), ids, see); err != nil || len(rows) != 1 || rows["n1"] != day(t, "2024-01-01").Start() {
			t.Fatalf("through the index: %v, %v", rows, err)
		}
		clear(rows)
		if err := s.LocateBetween(t.Context(), ids, d.Start(), d.End(), see); err != nil || len(rows) != 2 || rows["n1"] != d.Start() {
			t.Errorf("LocateBetween: %v, %v", rows, err)
		}
		var nodes []seen
		if err := s.FetchBetween(t.Context(), ids, d.Start(), d.End(), collect(&nodes)); err != nil || len(nodes) != 2 {
			t.Errorf("FetchBetween: %v, %v", nodes, err)
		}
	})
}

func TestMomentsCountAndSumEachMinute(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain + `insert into nodestore_node values ('a', 'x', '2024-01-01 00:00:00.0019+00'), ('b', 'x', '2024-01-01 00:00:59.999999+00'),
			('c', 'x', '2024-01-01 00:01+00'), ('d', 'x', 'infinity')`)
		d := day(t, "2024-01-01")
		got, err := db.open("nodestore_node").Moments(t.Context(), d.Start(), d.End())
		first := d.Start()
		if err != nil || len(got) != 2 || got[first] != (Moment{Count: 2, Sum: float64(first/1000*2 + 1 + 59999)}) || got[first+60e6] != (Moment{Count: 1, Sum: float64(first/1000 + 60000)}) {
			t.Errorf("%v, %v", got, err)
		}
	})
}
