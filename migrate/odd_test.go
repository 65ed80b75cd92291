package migrate_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// recent describes readable rows up to this moment.
func recent(seed uint64, rows int, back time.Duration) synth.Options {
	now := time.Now().UTC()
	return synth.Options{Seed: seed, Rows: rows, From: now.Add(-back), Until: now.Add(-time.Minute), Mix: synth.Clean(), Distinct: 20}
}

func (w *world) deleteDocument(row synth.Row) {
	w.t.Helper()
	w.must(http.MethodDelete, "/"+w.index(row)+"/_doc/"+escapeID(row.ID)+"?refresh=true", "", nil)
}

func TestOddDeletedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(101, 60, 2))
	w.migrate(exitDone)
	for _, row := range w.rows[:5] {
		w.deleteDocument(row)
	}
	s := w.migrate(exitDone).summary()
	t.Log(s.Fates)
	w.wantReadable()
}

func TestOddVanishedAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(102, 60, 2))
	w.migrate(exitDone)
	w.exec(`create table back as select * from nodestore_node order by id limit 4; delete from nodestore_node where id in (select id from back)`)
	w.migrate(exitDone)
	w.exec(`insert into nodestore_node select * from back`)
	s := w.migrate(exitDone).summary()
	t.Log(s.Fates)
	w.wantReadable()
}

func TestOddForwardAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(103, 60, 2))
	w.move(0, past().Add(10*time.Hour), w.rows[0])
	w.migrate(exitDone)
	for i, minutes := range []int{10, 2, 5} {
		w.move(0, past().Add(10*time.Hour+time.Duration(minutes)*time.Minute), w.rows[20+i])
		w.migrate(exitDone)
		w.wantReadable()
	}
}

func TestOddMidnightBackAndForth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(104, 60, 3))
	midnight := past().AddDate(0, 0, 1)
	for i, minutes := range []int{-5, 3, -7, 2, -1, -2, 0, 4, 1} {
		w.move(0, midnight.Add(time.Duration(minutes)*time.Minute), w.rows[20+i])
		w.migrate(exitDone)
		w.wantReadable()
	}
}

func TestOddMidnightToday(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(recent(105, 60, 60*time.Hour))
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	for i, minutes := range []int{-5, 3, -7, 2, -1, -2, 0, 4, 1} {
		w.move(0, midnight.Add(time.Duration(minutes)*time.Minute), w.rows[20+i])
		w.migrate(exitDone)
		w.wantReadable()
	}
}

func TestOddEmptyID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(recent(106, 60, 60*time.Hour))
	w.exec(`insert into nodestore_node values ('', 'eJyrrgUAAXUA+Q==', now() - interval '5 minutes')`)
	w.migrate(exitRejected)
	w.migrate(exitRejected)
	w.wantReadable()
}

func TestOddAliasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(107, 60, 3))
	w.migrate(exitDone)
	w.must(http.MethodDelete, "/"+w.index(w.rows[0])+"/_alias/"+w.prefix, "", nil)
	c := w.start()
	<-c.ended
	t.Log(c.cmd.ProcessState.ExitCode(), c.stderr.String())
	if c.cmd.ProcessState.ExitCode() == 0 {
		w.wantReadable()
	}
}

func TestOddAliasRemovedMidRun(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"", `,"filter":{"term":{"_id":"x"}}`} {
		w := newWorld(t, newestPair()).fill(clean(108, 90, 3))
		done := false
		gate := newGate(t, w.target, func(r request) passage {
			if r.bulk() && strings.Contains(r.URL.Path, "2025-03-01") && !done {
				done = true
				name := w.prefix + "-2025-03-03"
				w.must(http.MethodPost, "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}}]}`, name, w.prefix), nil)
				if filter != "" {
					w.must(http.MethodPost, "/_aliases", fmt.Sprintf(`{"actions":[{"add":{"index":%q,"alias":%q%s}}]}`, name, w.prefix, filter), nil)
				}
			}
			return passage{}
		})
		c := w.start("--target", gate.server.URL, "--readers", "1", "--senders", "1")
		<-c.ended
		t.Log(filter, c.cmd.ProcessState.ExitCode(), c.stderr.String())
		if c.cmd.ProcessState.ExitCode() == 0 {
			w.wantReadable()
			c := w.start()
			<-c.ended
			t.Log("second", filter, c.cmd.ProcessState.ExitCode(), c.stderr.String())
		}
	}
}

func (w *world) sentrys(n int, at time.Time) {
	w.t.Helper()
	day := node.DayOf(at.UnixMicro())
	for i := range n {
		body := fmt.Sprintf(`{"data":"eJyrrgUAAXUA+Q==","timestamp":%q}`, at.Format(time.RFC3339Nano))
		w.must(http.MethodPut, fmt.Sprintf("/%s-%s/_doc/sentry-%d?refresh=true", w.prefix, day, i), body, nil)
	}
}

func TestOddSwitchInFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(recent(109, 60, 30*time.Hour))
	w.migrate(exitDone)
	now := time.Now().UTC()
	today := node.DayOf(now.UnixMicro())
	before := w.documents(today)
	w.sentrys(5, now.Add(-time.Second))
	c := w.start("--switched-at", now.Add(2*time.Hour).Format(time.RFC3339))
	<-c.ended
	t.Log(c.cmd.ProcessState.ExitCode(), c.stderr.String())
	if after := w.documents(today); after != before+5 {
		t.Errorf("%d of Sentry's documents are left", after-before)
	}
}

// TestOddSwitchTooEarly names a switch from before the end of an earlier run: it
// is told, since what that run copied cannot be told from what Sentry wrote.
func TestOddSwitchTooEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(recent(110, 60, 30*time.Hour))
	w.migrate(exitDone)
	c := w.migrate(exitDone, "--switched-at", time.Now().UTC().Add(-time.Hour).Format(time.RFC3339))
	if text := c.stdout.String(); !strings.Contains(text, "before an earlier run ended") {
		t.Errorf("standard output:\n%s", text)
	}
	w.wantReadable()
}

func TestOddDroppedThenThereAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(111, 60, 3))
	w.migrate(exitDone, "--retention", "0")
	day := node.DayOf(past().UnixMicro())
	w.drop(day)
	w.migrate(exitDone, "--retention", "90")
	w.must(http.MethodPut, "/"+w.prefix+"-"+day.String(), "", nil)
	if s := w.migrate(exitRejected, "--retention", "0").summary(); len(s.Lost) != 1 {
		t.Errorf("fates %v, lost %v", s.Fates, s.Lost)
	}
	w.migrate(exitDone, "--copy-again", day.String())
	w.wantReadable()
}

func TestOddBefore1970(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(112, 60, 2))
	for i := range 5 {
		w.move(i, time.Date(1960, 1, 1, 12, i, 0, 0, time.UTC), w.rows[i])
	}
	w.move(5, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), w.rows[5])
	w.move(6, time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), w.rows[6])
	w.move(7, time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC), w.rows[7])
	w.migrate(exitDone)
	w.wantReadable()
	for i := range 4 {
		w.move(i, time.Date(1960, 1, 1, 12, i+30, 0, 0, time.UTC), w.rows[30+i])
	}
	w.migrate(exitDone)
	w.wantReadable()
}

func TestOddCopyAgainToday(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--switched-at", time.Now().UTC().Add(-time.Second).Format(time.RFC3339)}} {
		w := newWorld(t, newestPair()).fill(recent(114, 60, 30*time.Hour))
		w.migrate(exitDone)
		today := node.DayOf(time.Now().UnixMicro())
		w.drop(today)
		w.migrate(exitRejected, flags...)
		c := w.start("--copy-again", today.String())
		<-c.ended
		t.Log(c.cmd.ProcessState.ExitCode(), c.summary().Fates, c.summary().Missing)
		w.wantReadable()
	}
}

func TestOddFreshCheckpointAfterTheSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(115, 100, 3))
	w.migrate(exitDone)
	w.migrate(exitDone, "--switched-at", switched())
	w.exec(`delete from nodestore_node where id in (select id from nodestore_node order by "timestamp" limit 5)`)
	w.migrate(exitDone)
	w.wantReadable()
	s := w.migrate(exitDone, "--checkpoint", w.checkpoint()+"2", "--switched-at", switched()).summary()
	t.Log(s.Fates)
	w.wantReadable()
}

// TestOddCopyMissingAtOnce copies what was deleted after the switch within the
// minute in which OpenSearch still knows the deletions' versions.
func TestOddCopyMissingAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(223, 60, 2))
	w.migrate(exitDone, "--switched-at", switched())
	for _, row := range w.rows[:5] {
		w.deleteDocument(row)
	}
	if s := w.migrate(exitRejected).summary(); s.Missing != 5 {
		t.Errorf("%d missing", s.Missing)
	}
	w.migrate(exitDone, "--copy-missing")
	w.wantReadable()
}

// TestOddDatabaseSettings has a database whose settings change how values and
// names are written, and which rows are found first.
func TestOddDatabaseSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(224, 60, 2))
	w.exec(`update nodestore_node set id = 'q''uo\te ü' where id = '` + w.rows[0].ID + "'")
	w.rows[0].ID = `q'uo\te ü`
	for _, setting := range []string{
		"timezone = 'Asia/Kolkata'", "datestyle = 'German, DMY'", "intervalstyle = 'iso_8601'", "bytea_output = 'escape'", "client_encoding = 'latin1'",
		"search_path = ''", "default_transaction_isolation = 'serializable'", "extra_float_digits = -3", "standard_conforming_strings = off",
		"enable_indexscan = off", "quote_all_identifiers = on",
	} {
		w.exec("do $do$ begin execute format($f$alter database %I set " + setting + "$f$, current_database()); end $do$")
	}
	w.wantComplete(w.migrate(exitDone, "--table", "public.nodestore_node").summary())
}

// TestOddUnnamedSwitch: Sentry has switched, nobody says so, and it has written
// again what is copied: that is told, and mended once the switch is named.
func TestOddUnnamedSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(recent(221, 60, 40*time.Hour))
	w.must(http.MethodPut, "/_index_template/"+w.prefix, w.template(), nil)
	at := time.Now().UTC().Truncate(time.Millisecond)
	row := &w.rows[slices.IndexFunc(w.rows, func(row synth.Row) bool { return dayOf(row) < node.DayOf(at.UnixMicro()) })]
	row.Timestamp, row.Data, row.Inner, row.Kind = at, w.rows[20].Data, w.rows[20].Inner, w.rows[20].Kind
	body := fmt.Sprintf(`{"data":%q,"timestamp":%q}`, row.Data, at.Format(time.RFC3339Nano))
	w.must(http.MethodPut, "/"+w.index(*row)+"/_doc/"+escapeID(row.ID)+"?refresh=true", body, nil)
	for range 2 {
		c := w.migrate(exitRejected)
		if text := c.stdout.String(); !strings.Contains(text, "in more than one index") || c.summary().Doubled != 1 {
			t.Errorf("standard output:\n%s", text)
		}
	}
	w.migrate(exitDone, "--switched-at", at.Format(time.RFC3339Nano))
	w.wantReadable()
}

// TestOddInheritance: a table's primary key says nothing of the tables that
// inherit from it, whose ids may be the same.
func TestOddInheritance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(401, 60, 3))
	w.exec(`create table child () inherits (nodestore_node)`)
	for i, later := range []time.Duration{24 * time.Hour, 25 * time.Hour, 2 * time.Second} {
		row, like := &w.rows[i], w.rows[20+i]
		at := row.Timestamp.Add(later)
		w.exec(fmt.Sprintf(`insert into child select '%s', data, '%s' from nodestore_node where id = '%s'`, row.ID, at.Format("2006-01-02 15:04:05.000000Z07:00"), like.ID))
		row.Timestamp, row.Data, row.Inner, row.Kind = at, like.Data, like.Inner, like.Kind
	}
	for range 2 {
		w.migrate(exitDone)
		w.wantReadable()
	}
}
