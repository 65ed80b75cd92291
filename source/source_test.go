package source

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// seen is a copy of a node that a visit function was handed.
type seen struct {
	id, data string
	micros   int64
}

func collect(nodes *[]seen) func(node.Node) error {
	return func(n node.Node) error {
		*nodes = append(*nodes, seen{string(n.ID), string(n.Data), n.Micros})
		return nil
	}
}

func day(t *testing.T, text string) node.Day {
	t.Helper()
	d, err := node.ParseDay(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The boundaries of a day, an id that needs quoting, and the timestamps that
// belong to no day.
const edges = `insert into rows values
	('before', 'MDA=', '2023-12-31 23:59:59.999999+00'),
	('first',  'MDE=', '2024-01-01 00:00:00+00'),
	('o''id\', 'MDI=', '2024-01-01 12:00:00.000001+00'),
	('last',   'MDM=', '2024-01-01 23:59:59.999999+00'),
	('after',  'MDQ=', '2024-01-02 00:00:00+00'),
	('year1',  'MDU=', '0001-01-01 00:00:00+00'),
	('year9',  'MDY=', '9999-12-31 23:59:59.999999+00'),
	('inf',    'MDc=', 'infinity'),
	('-inf',   'MDg=', '-infinity'),
	('bc',     'MDk=', '0044-03-15 12:00:00+00 BC'),
	('far',    'MTA=', '10000-01-01 00:00:00+00')`

func TestEveryShapeOfTheTable(t *testing.T) {
	t.Parallel()
	for name, schema := range schemas() {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(schema + edges)
				db.exec("analyze")
				s := db.open("nodestore_node")
				checkStream(t, s)
				checkKeys(t, s)
				checkFetch(t, s)
				checkUnbounded(t, s)
				checkDays(t, s)
				checkSlices(t, s)
			})
		})
	}
}

func checkStream(t *testing.T, s *Source) {
	t.Helper()
	d := day(t, "2024-01-01")
	var got []seen
	if err := s.Stream(t.Context(), d.Start(), d.End(), collect(&got)); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].data = strings.TrimSpace(got[i].data)
	}
	slices.SortFunc(got, func(a, b seen) int { return int(a.micros - b.micros) })
	want := []seen{
		{"first", "MDE=", d.Start()},
		{`o'id\`, "MDI=", d.Start() + 12*3600e6 + 1},
		{"last", "MDM=", d.End() - 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("Stream: got %v, want %v", got, want)
	}
}

func checkKeys(t *testing.T, s *Source) {
	t.Helper()
	var got []string
	err := s.Keys(t.Context(), minMicros, maxMicros, func(id []byte, micros int64) error {
		got = append(got, fmt.Sprint(string(id), " ", node.DayOf(micros)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{
		"after 2024-01-02", "before 2023-12-31", "first 2024-01-01", "last 2024-01-01",
		`o'id\ 2024-01-01`, "year1 0001-01-01", "year9 9999-12-31",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Keys: got %q, want %q", got, want)
	}
	count, err := s.Count(t.Context(), minMicros, maxMicros)
	if err != nil || count != int64(len(want)) {
		t.Errorf("Count: got %d, %v", count, err)
	}
	first, last, ok, err := s.Bounds(t.Context())
	if err != nil || !ok || first != minMicros || last != maxMicros-1 {
		t.Errorf("Bounds: got %d, %d, %v, %v", first, last, ok, err)
	}
}

func checkFetch(t *testing.T, s *Source) {
	t.Helper()
	var got []seen
	if err := s.Fetch(t.Context(), []string{`o'id\`, "gone", "nul\x00", "inf", "after"}, collect(&got)); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, n := range got {
		ids = append(ids, n.id)
	}
	slices.Sort(ids)
	if want := []string{"after", `o'id\`}; !slices.Equal(ids, want) {
		t.Errorf("Fetch: got %q, want %q", ids, want)
	}
}

func checkUnbounded(t *testing.T, s *Source) {
	t.Helper()
	var got []string
	err := s.Unbounded(t.Context(), func(id []byte, timestamp string) error {
		got = append(got, string(id)+" "+timestamp)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{"-inf -infinity", "bc 0044-03-15 12:00:00+00 BC", "far 10000-01-01 00:00:00+00", "inf infinity"}
	if !slices.Equal(got, want) {
		t.Errorf("Unbounded: got %q, want %q", got, want)
	}
}

func checkDays(t *testing.T, s *Source) {
	t.Helper()
	days, err := s.Days(t.Context(), minMicros, maxMicros)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range days {
		got = append(got, d.Day.String())
		if d.Rows < 1 || d.Bytes < 1 {
			t.Errorf("Days: %v has no estimate", d)
		}
	}
	want := []string{"0001-01-01", "2023-12-31", "2024-01-01", "2024-01-02", "9999-12-31"}
	if !slices.Equal(got, want) {
		t.Errorf("Days: got %q, want %q", got, want)
	}
}

func checkSlices(t *testing.T, s *Source) {
	t.Helper()
	d := day(t, "2024-01-01")
	got, err := s.Slices(t.Context(), d.Start(), d.End(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].From != d.Start() || got[1].From > d.Start()+12*3600e6+1 || got[2].To != d.End() {
		t.Errorf("Slices: got %v", got)
	}
}
