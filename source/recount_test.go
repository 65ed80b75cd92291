package source

import (
	"testing"
)

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
