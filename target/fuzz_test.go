package target

import (
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// FuzzItems: whatever a server answers, each node gets one fate, is looked at or
// sent again, or there is an error; never more fates than nodes.
func FuzzItems(f *testing.F) {
	for _, answer := range []string{
		`{"errors":false}`, `{"errors":true,"items":[]}`, itemStatuses(200, 201, 429), itemStatuses(400, 413, 503), itemStatuses(404, 200, 200),
		`{"errors":true,"items":[{},null,{"index":{"status":201},"create":{"status":201}}]}`, `null`, `{"items":[null,null,null]}`,
		`{"items":[{"index":{"status":409,"error":{"reason":"[n0]: version conflict, current version [1728043200000000] is"}}},{"index":{"status":409}},{"index":{"status":409,"error":{"reason":"current version ["}}}]}`,
	} {
		f.Add([]byte(answer), false)
		f.Add([]byte(answer), true)
	}
	batch := batchOf(f, Versioned, numbered(3)...)
	f.Fuzz(func(t *testing.T, answer []byte, uncertain bool) {
		d := &delivery{batch: batch}
		answers, err := cluster.Items(answer, batch.Len())
		if err != nil {
			return
		}
		var open int64 // sent again, or looked at
		for i, a := range answers {
			what, err := d.give(group{items: []int{0, 1, 2}, uncertain: uncertain}, i, a)
			if err != nil {
				return
			}
			if what != fated {
				open++
			}
		}
		if got := d.outcome.Fates.Sum(); got+open != int64(batch.Len()) {
			t.Errorf("fates %v, and %d open", d.outcome.Fates, open)
		}
		if int64(len(d.outcome.Rejected)) != d.outcome.Fates[node.Rejected] {
			t.Errorf("%d are listed, fates %v", len(d.outcome.Rejected), d.outcome.Fates)
		}
	})
}

func FuzzCarriedOut(f *testing.F) {
	for _, answer := range []string{`{}`, `null`, itemStatuses(200, 409), itemStatuses(429, 503), itemStatuses(201, 400), `{"items":[{},null]}`} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		done := make([]bool, 2)
		waiting, cause, err := carriedOut(answer, []int{0, 1}, done, false)
		if len(waiting) > 2 || (len(waiting) > 0) != (cause != nil) || err != nil && cause != nil {
			t.Errorf("%v, %v beside %v, done %v", waiting, cause, err, done)
		}
	})
}
