package migrate_test

import "testing"

// TestManyLateRows has more rows committed late than are remembered by their ids: what
// is left is found by reading again.
func TestManyLateRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(340, 10, 1))
	w.exec(`insert into nodestore_node select md5('first'), data, now() from nodestore_node limit 1`)
	w.migrate(exitDone)
	w.exec(`insert into nodestore_node select md5(i::text), (select data from nodestore_node order by length(data) limit 1), now() - interval '1 minute' - interval '1 millisecond' * i
		from generate_series(1, 100100) i`)
	s := w.migrate(exitDone, "--bulk-bytes", "8MiB", "--compact", "never").summary()
	if s.Run.Nodes != 100_100 || s.Read != 100_111 || s.Missing > 0 {
		t.Errorf("%+v", s)
	}
	// Nothing is late twice.
	if s := w.migrate(exitDone, "--bulk-bytes", "8MiB", "--compact", "never").summary(); s.Run.Nodes != 0 || s.Read != 100_111 {
		t.Errorf("again: %+v", s)
	}
}
