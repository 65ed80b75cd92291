package migrate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// move gives a row another timestamp, and other bytes, which another row has.
func (w *world) move(i int, at time.Time, like synth.Row) {
	w.t.Helper()
	row := &w.rows[i]
	w.exec(fmt.Sprintf(`update nodestore_node set "timestamp" = '%s', data = (select data from nodestore_node where id = '%s') where id = '%s'`,
		at.Format("2006-01-02 15:04:05.000000Z07:00"), like.ID, row.ID))
	row.Timestamp, row.Data, row.Inner, row.Kind = at, like.Data, like.Inner, like.Kind
}

func (w *world) wantSummary(s migrate.Summary, want node.Fates) {
	w.t.Helper()
	if s.Fates != want {
		w.t.Errorf("fates %v, want %v", s.Fates, want)
	}
}

// switched is a time after all rows of the past, as --switched-at wants it.
func switched() string { return past().AddDate(0, 1, 0).Format(time.RFC3339) }

func TestRowThatIsCommittedVeryLate(t *testing.T) {
	t.Parallel()
	late := func(seed uint64) (*world, []synth.Row) {
		w := newWorld(t, newestPair())
		w.fill(clean(seed, 120, 3))
		rows := w.rows[:30]
		w.rows = w.rows[30:]
		for _, row := range rows {
			w.exec("delete from nodestore_node where id = '" + row.ID + "'")
		}
		return w, rows
	}
	t.Run("is copied before the switch", func(t *testing.T) {
		t.Parallel()
		w, rows := late(70)
		w.migrate(exitDone)
		w.insert("nodestore_node", rows)
		s := w.migrate(exitDone).summary()
		w.wantComplete(s)
		w.wantSummary(s, node.Fates{node.Stored: 120})
		if s := w.migrate(exitDone).summary(); s.Run.Nodes != 0 {
			t.Errorf("%d nodes are sent again", s.Run.Nodes)
		}
	})
	t.Run("is told of after the switch, and copied if that is asked for", func(t *testing.T) {
		t.Parallel()
		w, rows := late(71)
		w.migrate(exitDone, "--switched-at", switched())
		w.insert("nodestore_node", rows)
		if s := w.migrate(exitRejected).summary(); s.Missing != 30 || s.Run.Nodes != 0 {
			t.Errorf("%d missing, %d sent", s.Missing, s.Run.Nodes)
		}
		w.wantComplete(w.migrate(exitDone, "--copy-missing").summary())
	})
}

// TestClockThatWasAhead has rows whose timestamps go backward when they are
// written again: the row of now decides.
func TestClockThatWasAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	now := time.Now().UTC()
	w.fill(synth.Options{Seed: 72, Rows: 60, From: now.Add(-72 * time.Hour), Until: now.Add(-time.Hour), Mix: synth.Clean(), Distinct: 60})
	for i := range 10 {
		w.move(i, now.Add(48*time.Hour).Add(time.Duration(i)*time.Second), w.rows[i])
	}
	for i := 10; i < 20; i++ {
		w.move(i, w.rows[i].Timestamp.Add(2*time.Minute), w.rows[i])
	}
	w.migrate(exitDone)
	for i := range 10 {
		w.move(i, now.Add(time.Duration(i-20)*time.Minute), w.rows[40+i])
	}
	for i := 10; i < 20; i++ {
		w.move(i, w.rows[i].Timestamp.Add(-2*time.Minute), w.rows[40+i])
	}
	w.migrate(exitDone)
	w.wantReadable()
	if s := w.migrate(exitDone).summary(); s.Run.Nodes != 0 {
		t.Errorf("%d nodes are sent again", s.Run.Nodes)
	}
	w.wantReadable()
}

func TestRowsOfADayGoAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(73, 90, 3))
	w.migrate(exitDone)
	day := node.DayOf(past().UnixMicro()) + 1
	w.exec(`create table detached as select * from nodestore_node where "timestamp" >= '2025-03-02' and "timestamp" < '2025-03-03'`)
	w.exec(`delete from nodestore_node where id in (select id from detached)`)
	c := w.migrate(exitDone)
	if text := c.stdout.String(); !strings.Contains(text, "has no rows any more") {
		t.Errorf("standard output:\n%s", text)
	}
	w.wantReadable()
	w.migrate(exitDone, "--switched-at", switched())
	w.wantReadable()
	w.exec("insert into nodestore_node select * from detached")
	w.migrate(exitDone)
	w.exec("delete from nodestore_node") // table by table, after the switch
	w.migrate(exitDone)
	w.wantReadable()
	w.migrate(exitDone, "--remove-vanished")
	if n := w.documents(day); n != 0 {
		t.Errorf("%d documents are left", n)
	}
}

// documents counts what a day's index holds.
func (w *world) documents(day node.Day) int64 {
	w.t.Helper()
	var answer struct{ Count int64 }
	w.must(http.MethodPost, "/"+w.prefix+"-"+day.String()+"/_refresh", "", nil)
	w.must(http.MethodGet, "/"+w.prefix+"-"+day.String()+"/_count", "", &answer)
	return answer.Count
}

// TestSentryWritesWithoutANamedSwitch has documents of Sentry's in today's
// index, and a row of 2038: nothing of Sentry's is removed, and it is told.
func TestSentryWritesWithoutANamedSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	now := time.Now().UTC()
	w.fill(synth.Options{Seed: 74, Rows: 40, From: now.Add(-48 * time.Hour), Until: now.Add(-time.Minute), Mix: synth.Clean(), Distinct: 10})
	w.move(0, time.Date(2038, 1, 19, 3, 14, 7, 0, time.UTC), w.rows[1])
	w.migrate(exitDone)
	today := node.DayOf(now.UnixMicro())
	before := w.documents(today)
	for i := range 20 {
		body := fmt.Sprintf(`{"data":"eJyrrgUAAXUA+Q==","timestamp":%q}`, now.Format(time.RFC3339Nano))
		w.must(http.MethodPut, fmt.Sprintf("/%s-%s/_doc/sentry-%d?refresh=true", w.prefix, today, i), body, nil)
	}
	for range 2 {
		c := w.migrate(exitDone)
		if text := c.stdout.String(); !strings.Contains(text, "--switched-at") {
			t.Errorf("standard output:\n%s", text)
		}
	}
	if after := w.documents(today); after != before+20 {
		t.Errorf("%d documents, and after two runs %d", before+20, after)
	}
	w.wantReadable()
}

// TestSwitchOfASmallTable has Sentry write more since the switch than a tenth of
// all: that is not taken for what vanished at the source.
func TestSwitchOfASmallTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	now := time.Now().UTC()
	w.fill(synth.Options{Seed: 77, Rows: 40, From: now.Add(-48 * time.Hour), Until: now.Add(-time.Minute), Mix: synth.Clean(), Distinct: 10})
	w.move(0, now.Add(-time.Second), w.rows[1]) // today has an index of this tool's in any case
	w.migrate(exitDone)
	switched := time.Now().UTC()
	today := node.DayOf(switched.UnixMicro())
	for i := range 30 {
		body := fmt.Sprintf(`{"data":"eJyrrgUAAXUA+Q==","timestamp":%q}`, time.Now().UTC().Format(time.RFC3339Nano))
		w.must(http.MethodPut, fmt.Sprintf("/%s-%s/_doc/sentry-%d?refresh=true", w.prefix, today, i), body, nil)
	}
	before := w.documents(today)
	w.migrate(exitDone, "--switched-at", switched.Format(time.RFC3339Nano))
	if after := w.documents(today); after != before {
		t.Errorf("%d documents, and %d after a run", before, after)
	}
	w.wantReadable()
}

func TestOverlapIsRaised(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	now := time.Now().UTC()
	w.fill(synth.Options{Seed: 75, Rows: 80, From: now.Add(-3 * time.Hour), Until: now.Add(-time.Second), Mix: synth.Clean(), Distinct: 10})
	at := now.Format(time.RFC3339)
	w.migrate(exitDone, "--overlap", "1s", "--switched-at", at)
	row := w.rows[0]
	w.must(http.MethodDelete, "/"+w.index(row)+"/_doc/"+escapeID(row.ID)+"?refresh=true", "", nil)
	s := w.migrate(exitRejected, "--overlap", "4h").summary()
	if s.Run.Nodes != 0 || s.Fates.Sum() != 80 || s.Missing != 1 {
		t.Errorf("%d sent, fates %v, %d missing", s.Run.Nodes, s.Fates, s.Missing)
	}
}

func escapeID(id string) string { return strings.NewReplacer("/", "%2F", "+", "%2B").Replace(id) }

func TestOddTimestampsThatComeLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(76, 30, 1))
	w.migrate(exitDone)
	w.exec(`insert into nodestore_node values ('late-infinity', 'eJyrrgUAAXUA+Q==', 'infinity'), ('late-minus', 'eJyrrgUAAXUA+Q==', '-infinity')`)
	for range 2 {
		s := w.migrate(exitRejected).summary()
		if s.Fates[node.Rejected] != 2 || s.Fates.Sum() != 32 || len(w.rejected()) != 2 {
			t.Errorf("fates %v, listed %v", s.Fates, w.rejected())
		}
	}
}
