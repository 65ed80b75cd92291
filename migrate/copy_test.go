package migrate_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// partitioned is bytea in a table of partitions, with a view over it that
// looks like Sentry's table.
const partitioned = `create table store (id varchar(40) not null, data bytea not null, "timestamp" timestamptz not null) partition by range ("timestamp");
	create index on store ("timestamp");
	create table store_1 partition of store for values from ('2025-03-01 00:00+00') to ('2025-03-02 00:00+00');
	create table store_rest partition of store default;
	create view nodestore_node as select id, encode(data, 'base64') as data, "timestamp" from store`

func TestEveryNodeHasOneFateAndTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, postgres := range testservers.PostgresVersions() {
		for _, openSearch := range testservers.OpenSearchVersions() {
			t.Run(postgres+" to "+openSearch, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, pair{postgres, openSearch}).fill(events(1, 300, 3))
				w.wantComplete(w.migrate(exitRejected).summary())
			})
		}
	}
	t.Run("three thousand rows", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, newestPair()).fill(events(2, 3000, 5))
		w.wantComplete(w.migrate(exitRejected, "--order", "oldest", "--bulk-bytes", "1MiB").summary())
	})
	t.Run("bytea", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, newestPair()).fillBytes(`create table store (id varchar(40) primary key, data bytea not null, "timestamp" timestamptz not null)`, events(3, 200, 2))
		w.wantComplete(w.migrate(exitRejected, "--table", "store").summary())
	})
	t.Run("view over partitions of bytea", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, newestPair()).fillBytes(partitioned, events(4, 200, 3))
		w.wantComplete(w.migrate(exitRejected).summary())
	})
}

func TestSecondRunSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(5, 300, 2))
	first := w.migrate(exitRejected).summary()
	var bulks, changes atomic.Int64
	proxy := faulty.NewHTTPProxy(t, hostOf(t, w.target), func(r *http.Request, _ int) faulty.Fault {
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			bulks.Add(1)
		}
		if r.Method == http.MethodPut || r.Method == http.MethodDelete {
			changes.Add(1)
		}
		return faulty.Fault{}
	})
	second := w.migrate(exitRejected, "--target", proxy.URL()).summary()
	if bulks.Load() != 0 || changes.Load() != 0 || second.Run.Nodes != 0 {
		t.Errorf("%d bulks, %d changes, %d nodes sent", bulks.Load(), changes.Load(), second.Run.Nodes)
	}
	if second.Fates != first.Fates || second.Read != first.Read {
		t.Errorf("fates %v, before %v", second.Fates, first.Fates)
	}
	w.wantComplete(second)
}
