package source

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func checkCover(t *testing.T, got []Slice, from, to int64) (rows, bytes int64) {
	t.Helper()
	if got[0].From != from || got[len(got)-1].To != to {
		t.Errorf("%v do not cover [%d, %d)", got, from, to)
	}
	for i, slice := range got {
		if slice.From >= slice.To || i > 0 && got[i-1].To != slice.From {
			t.Errorf("slice %d of %v is empty or leaves a gap", i, got)
		}
		rows += slice.Rows
		bytes += slice.Bytes
	}
	return rows, bytes
}

func TestSlicesSplitTimeUntilTheyFit(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		// 1000 rows of 100 bytes: 300 over the day, 300 in one second, 200 in
		// one millisecond, 200 in one microsecond.
		db.exec(plain + `insert into nodestore_node select 'n' || i, repeat('x', 100), timestamptz '2024-01-01 00:00+00' + case
			when i < 300 then i * interval '4 minutes'
			when i < 600 then interval '10:00:07' + i * interval '1 millisecond'
			when i < 800 then interval '15:00:09.000' + i * interval '1 microsecond'
			else interval '20:10:11.000005' end
			from generate_series(0, 999) i`)
		s := db.open("nodestore_node")
		d := day(t, "2024-01-01")
		const aim = 1000
		got, err := s.Slices(t.Context(), d.Start(), d.End(), aim)
		if err != nil {
			t.Fatal(err)
		}
		if rows, bytes := checkCover(t, got, d.Start(), d.End()); rows != 1000 || bytes != 100_000 {
			t.Errorf("%d rows, %d bytes", rows, bytes)
		}
		var over []Slice
		for _, slice := range got {
			if count, err := s.Count(t.Context(), slice.From, slice.To); err != nil || count != slice.Rows {
				t.Errorf("%v has %d rows, %v", slice, count, err)
			}
			if slice.Bytes > 2*aim {
				over = append(over, slice)
			}
		}
		if len(over) != 1 || over[0].Rows != 200 {
			t.Fatalf("want only the full microsecond over the limit, got %v", over)
		}
		checkParts(t, s, over[0], 20)
	})
}

// checkParts reads a slice part by part: each row is in one of them.
func checkParts(t *testing.T, s *Source, span Slice, most int) {
	t.Helper()
	seen := map[string]int{}
	for _, part := range s.parts(span) {
		rows := 0
		err := s.keys(t.Context(), "part", inRange(part.from, part.to)+part.also, func([]byte, int64) error { rows++; return nil })
		if err != nil || rows > most {
			t.Errorf("%d rows in a part, %v", rows, err)
		}
	}
	err := s.StreamSlice(t.Context(), span, func(n node.Node) error { seen[string(n.ID)]++; return nil })
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%q came %d times", id, times)
		}
	}
	if err != nil || len(seen) != int(span.Rows) {
		t.Errorf("%d rows, want %d; %v", len(seen), span.Rows, err)
	}
}

func TestSlicesOfABulkLoad(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]string{
		"table":           plain + `insert into nodestore_node select md5(i::text), repeat('x', 100), '2024-01-01 10:00+00' from generate_series(1, 1000) i`,
		"odd ids":         plain + `insert into nodestore_node select E'\'\\' || chr(200 + i), repeat('x', 100), '2024-01-01 10:00+00' from generate_series(1, 1000) i`,
		"uuid":            `create table nodestore_node (id uuid, data text, "timestamp" timestamptz); insert into nodestore_node select md5(i::text)::uuid, repeat('x', 100), '2024-01-01 10:00+00' from generate_series(1, 1000) i`,
		"with a null id":  `create table nodestore_node (id text, data text, "timestamp" timestamptz); insert into nodestore_node select nullif(i, 7)::text, repeat('x', 100), '2024-01-01 10:00+00' from generate_series(1, 1000) i`,
		"hardly any byte": plain + `insert into nodestore_node select i, repeat('x', case i when 1 then 99000 else 1 end), '2024-01-01 10:00+00' from generate_series(1, 1000) i`,
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(load)
				s := db.open("nodestore_node")
				d := day(t, "2024-01-01")
				got, err := s.Slices(t.Context(), d.Start(), d.End(), 1000)
				if err != nil || len(got) != 1 || len(got[0].Cuts) < 90 {
					t.Fatalf("%v, %v", got, err)
				}
				checkParts(t, s, got[0], 12)
			})
		})
	}
}

func TestSlicesOfPartOfADay(t *testing.T) {
	db := newest(t)
	db.exec(plain + `insert into nodestore_node select 'n' || i, repeat('x', 100), timestamptz '2024-01-01 10:00+00' + i * interval '1 second'
		from generate_series(0, 599) i`)
	s := db.open("nodestore_node")
	from := day(t, "2024-01-01").Start() + 10*3600e6 + 30e6 + 1 // in the middle of a minute
	to := from + 90e6
	got, err := s.Slices(t.Context(), from, to, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if rows, _ := checkCover(t, got, from, to); rows != 90 {
		t.Errorf("%d rows in %v", rows, got)
	}
}

func TestSlicesOfAnEmptyRange(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	d := day(t, "2024-01-01")
	got, err := db.open("nodestore_node").Slices(t.Context(), d.Start(), d.End(), 1000)
	if want := []Slice{{From: d.Start(), To: d.End()}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDaysOfAManyDayTable(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain + `insert into nodestore_node select 'n' || i, repeat('x', 1000), timestamptz '2024-01-01 00:00+00' + i * interval '1 hour'
			from generate_series(0, 24 * 250 - 1) i where i % 48 < 24`)
		db.exec("analyze nodestore_node")
		s := db.open("nodestore_node")
		days, err := s.Days(t.Context(), minMicros, maxMicros)
		if err != nil {
			t.Fatal(err)
		}
		if len(days) != 125 {
			t.Errorf("%d days", len(days))
		}
		var rows, bytes int64
		for _, d := range days {
			rows += d.Rows
			bytes += d.Bytes
		}
		if relation := s.Relation(); !near(rows, 3000) || !near(bytes, relation.Bytes) || relation.Rows != 3000 {
			t.Errorf("%d rows and %d bytes in the days of %+v", rows, bytes, relation)
		}
	})
}

func near(got, want int64) bool { return got > want*8/10 && got < want*12/10 }

func TestTableThatWasNeverAnalysed(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain + "alter table nodestore_node set (autovacuum_enabled = false);" +
			`insert into nodestore_node values ('a', 'x', '2024-01-01 00:00+00'), ('b', 'x', '2024-01-03 00:00+00')`)
		s := db.open("nodestore_node")
		days, err := s.Days(t.Context(), minMicros, maxMicros)
		if err != nil {
			t.Fatal(err)
		}
		half := s.Relation().Bytes / 2
		want := []DaySize{{Day: day(t, "2024-01-01"), Rows: -1, Bytes: half}, {Day: day(t, "2024-01-03"), Rows: -1, Bytes: half}}
		if s.Relation().Rows != -1 || half == 0 || !slices.Equal(days, want) {
			t.Errorf("%v of %+v, want %v", days, s.Relation(), want)
		}
	})
}

func TestEmptyTable(t *testing.T) {
	t.Parallel()
	for name, schema := range schemas() {
		t.Run(name, func(t *testing.T) {
			db := newest(t)
			db.exec(schema)
			s := db.open("nodestore_node")
			if r := s.Relation(); r.Rows != 0 || !r.TimestampIndexed {
				t.Errorf("%+v", r)
			}
			days, err := s.Days(t.Context(), minMicros, maxMicros)
			if err != nil || len(days) != 0 {
				t.Errorf("Days: %v, %v", days, err)
			}
			if _, _, ok, err := s.Bounds(t.Context()); ok || err != nil {
				t.Errorf("Bounds: %v, %v", ok, err)
			}
			var nodes []seen
			if err := s.Stream(t.Context(), minMicros, maxMicros, collect(&nodes)); err != nil || nodes != nil {
				t.Errorf("Stream: %v, %v", nodes, err)
			}
		})
	}
}

func TestTableWithoutTimestampIndex(t *testing.T) {
	db := newest(t)
	db.exec(strings.ReplaceAll(plain, "create index", "-- ") + `
		insert into nodestore_node values ('a', 'x', '2024-01-01 00:00+00'), ('b', 'x', '2024-01-03 00:00+00');
		create index on nodestore_node (id, "timestamp"); analyze nodestore_node`)
	s := db.open("nodestore_node")
	if r := s.Relation(); r.TimestampIndexed || !r.UniqueID {
		t.Errorf("%+v", r)
	}
	days, err := s.Days(t.Context(), minMicros, maxMicros)
	if err != nil || len(days) != 2 {
		t.Errorf("%v, %v", days, err)
	}
}
