package migrate_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// spoil makes rows unreadable, and returns what mends them.
func (w *world) spoil(rows []int) (mend func()) {
	w.t.Helper()
	w.exec("create table unspoiled as select * from nodestore_node")
	before := slices.Clone(w.rows)
	for _, i := range rows {
		w.exec("update nodestore_node set data = 'a' where id = '" + w.rows[i].ID + "'")
		w.rows[i].Inner, w.rows[i].Kind = nil, synth.CorruptBase64
	}
	return func() {
		w.t.Helper()
		w.exec("update nodestore_node n set data = u.data from unspoiled u where u.id = n.id")
		for _, i := range rows {
			w.rows[i] = before[i]
		}
	}
}

// TestRejectedAreRetried mends rows after the switch: they are copied once, also those of
// a day whose rows were all rejected, but for the one that Sentry has written again
// since, and the one that is deleted.
func TestRejectedAreRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(80, 90, 3))
	var spoiled []int
	lastDay := dayOf(w.rows[len(w.rows)-1])
	for i, row := range w.rows {
		if i%10 == 0 || dayOf(row) == lastDay {
			spoiled = append(spoiled, i)
		}
	}
	mend := w.spoil(spoiled)
	w.wantComplete(w.migrate(exitRejected).summary())
	w.migrate(exitRejected, "--switched-at", switched())

	mend()
	rewritten, deleted := w.rows[0], w.rows[10]
	body := fmt.Sprintf(`{"data":"eJyrrgUAAXUA+Q==","timestamp":%q}`, time.Now().UTC().Format(time.RFC3339Nano))
	w.must(http.MethodPut, fmt.Sprintf("/%s-%s/_doc/%s?refresh=true", w.prefix, node.DayOf(time.Now().UnixMicro()), rewritten.ID), body, nil)
	w.exec("delete from nodestore_node where id = '" + deleted.ID + "'")

	s := w.migrate(exitRejected, "--retry-rejected", "corrupt_base64").summary()
	if want := (node.Fates{node.Stored: 88, node.Rejected: 2}); s.Fates != want {
		t.Errorf("fates %v, want %v", s.Fates, want)
	}
	if left := w.rejected(); len(left) != 2 || left[rewritten.ID] == "" || left[deleted.ID] == "" {
		t.Errorf("still listed: %v", left)
	}
	if sight, err := w.openTarget().Read(t.Context(), rewritten.ID); err != nil || sight.Copies != 1 || sight.Index == w.index(rewritten) {
		t.Errorf("what Sentry wrote: %+v %v", sight, err)
	}
	w.rows[10].Inner = nil
	w.rows = w.rows[1:]
	w.wantReadable()
	w.wantRestored()
	if s := w.migrate(exitRejected, "--retry-rejected", "all").summary(); s.Run.Nodes != 0 {
		t.Errorf("%d nodes are sent again", s.Run.Nodes)
	}
}
