package migrate_test

import (
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestBeyondRetentionIsCountedNotCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(30, 40, 3))
	c := w.migrate(exitDone, "--retention", "90")
	s := c.summary()
	if s.Fates[node.OutOfRetention] != int64(len(w.rows)) || s.Read != int64(len(w.rows)) || s.Run.Nodes != 0 {
		t.Errorf("%d rows, %d read, fates %v, %d sent", len(w.rows), s.Read, s.Fates, s.Run.Nodes)
	}
	// An index name of two parts before the date, as this one, escapes the backend's cleanup.
	if !strings.Contains(c.stdout.String(), "and never removes them: remove old ones yourself") {
		t.Errorf("no warning of the index prefix; standard output:\n%s", c.stdout.String())
	}
}
