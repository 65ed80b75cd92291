package migrate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// loseChunks deletes what TOAST has of some rows, whose payloads cannot be read
// then. A table of TOAST's takes no deletion, so it is called an ordinary one.
func (w *world) loseChunks(ids string) {
	w.t.Helper()
	var toast string
	if err := w.sql.QueryRow(w.t.Context(), "select reltoastrelid::regclass::text from pg_class where oid = 'nodestore_node'::regclass").Scan(&toast); err != nil {
		w.t.Fatal(err)
	}
	kind := "update pg_class set relkind = '%s' where oid = '" + toast + "'::regclass"
	w.exec(fmt.Sprintf(kind, "r"))
	w.exec(fmt.Sprintf(`delete from %[1]s where chunk_id in (select c.chunk_id from
		(select chunk_id, row_number() over (order by chunk_id) n from (select distinct chunk_id from %[1]s) d) c
		join (select id, row_number() over (order by ctid) n from nodestore_node where length(data) > 2100) r using (n) where id in (%[2]s))`, toast, ids))
	w.exec(fmt.Sprintf(kind, "t"))
	w.exec("vacuum " + toast) // deleted chunks can be read until then
}

// TestRowsThatPostgresCannotRead rejects them by id, and copies the others.
func TestRowsThatPostgresCannotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	w.exec(`create table nodestore_node (id varchar(40) primary key, data text not null, "timestamp" timestamptz not null);
		create index on nodestore_node ("timestamp"); alter table nodestore_node alter column data set storage external`)
	rows := slices.Collect(synth.Rows(clean(80, 200, 2)))
	for i := range rows { // each has chunks of its own
		rows[i].Data += strings.Repeat("\n", max(2200-len(rows[i].Data), 0))
	}
	w.insert("nodestore_node", rows)
	w.loseChunks("select id from nodestore_node order by id limit 40")
	for range 2 {
		s := w.migrate(exitRejected).summary()
		if s.Fates[node.Rejected] != 40 || s.Fates[node.Stored]+s.Fates[node.AlreadyThere] != 160 {
			t.Fatalf("fates %v", s.Fates)
		}
	}
	for id, reason := range w.rejected() {
		if reason != migrate.ReasonUnreadable {
			t.Errorf("node %q is rejected as %q", id, reason)
		}
	}
}

// TestSlowTarget has a target so slow that a reader's patience ends in the middle
// of a slice: only what was under way then is sent again.
func TestSlowTarget(t *testing.T) {
	t.Parallel()
	const batch = 512 << 10
	w := newWorld(t, newestPair()).fill(clean(81, 300, 1))
	gate := newGate(t, w.target, func(r request) passage {
		if r.bulk() {
			time.Sleep(22 * time.Second * time.Duration(len(r.body)) / batch) // the state that is tested: a slow line
		}
		return passage{}
	})
	s := w.migrate(exitDone, "--target", gate.server.URL, "--readers", "1", "--senders", "1", "--bulk-bytes", "512KiB").summary()
	if 10*s.Run.Bytes > 13*s.Bytes {
		t.Errorf("%d bytes were sent of %d", s.Run.Bytes, s.Bytes)
	}
	w.wantComplete(s)
}
