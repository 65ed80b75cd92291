package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

const (
	// changedRows is how many rows each run catches up with.
	changedRows = 1000
	// overlap is how far the runs look back. As short as it may be for rounds
	// that follow each other at once: none sees the rows of the one before, as
	// runs a quarter of an hour apart would not with the default.
	overlap = time.Second

	// wantedCatchUpTime is how many times longer catching up may take with ten
	// times the rows: the same but for a count of each day, and noise.
	wantedCatchUpTime = 1.5
	// wantedCatchUpTraffic is how many times more requests and bytes it may send:
	// the same but for what looks again at what the cluster was busy with.
	wantedCatchUpTraffic = 1.1
)

// catchUp is what was measured of catching up with one number of rows.
type catchUp struct {
	filled                    synth.Count
	nothing, added, rewritten *series
}

// catchingUp is a finished migration whose source keeps changing.
type catchingUp struct {
	*job
	conn *pgx.Conn
	via  *proxy
	rows int64 // in the table
}

// change does something to changedRows rows, in the present.
type change string

// The changes. Sentry rewrites a row with the time of the rewriting: it moves
// from its day to today.
const (
	addRows change = `insert into ` + smallTable + ` ("id", "data", "timestamp")
		select md5(i::text), (select "data" from ` + smallTable + ` limit 1), clock_timestamp() from generate_series($1::bigint, $1::bigint + $2::bigint - 1) i`
	rewriteRows change = `update ` + smallTable + ` set "timestamp" = clock_timestamp()
		where "id" in (select "id" from ` + smallTable + ` where "timestamp" < $1 order by "id" limit $2)`
)

// measureCatchUp measures runs on a finished migration: that find nothing new,
// new rows, and rows that were rewritten.
func (j *job) measureCatchUp(ctx context.Context, conn *pgx.Conn, filled synth.Count, rounds int) (*catchUp, error) {
	via, err := j.newProxy(ctx, nil)
	if err != nil {
		return nil, err
	}
	c := &catchingUp{j, conn, via, filled.Rows}
	named := func(what string, measure func(context.Context) (sample, error)) *series {
		return &series{Name: fmt.Sprintf("%s, %d rows", what, filled.Rows), measure: measure}
	}
	m := &catchUp{
		filled:    filled,
		nothing:   named("nothing new", c.findNothing),
		added:     named(fmt.Sprintf("%d new rows", changedRows), c.findAdded),
		rewritten: named(fmt.Sprintf("%d rewritten rows", changedRows), c.findRewritten),
	}
	say("Warming up the servers ...") // and making today's index, which only the first run does
	if _, err := c.findRewritten(ctx); err != nil {
		return nil, err
	}
	return m, inRounds(ctx, rounds, []*series{m.nothing, m.added, m.rewritten})
}

func (c *catchingUp) findNothing(ctx context.Context) (sample, error) {
	if err := c.finish(ctx); err != nil {
		return sample{}, err
	}
	return c.run(ctx, 0)
}

func (c *catchingUp) findAdded(ctx context.Context) (sample, error) {
	return c.find(ctx, addRows, c.rows)
}

func (c *catchingUp) findRewritten(ctx context.Context) (sample, error) {
	return c.find(ctx, rewriteRows, firstDay().AddDate(0, 0, len(c.days)))
}

// find measures the run after a change that has one argument of its own.
func (c *catchingUp) find(ctx context.Context, what change, argument any) (sample, error) {
	if err := c.finish(ctx); err != nil {
		return sample{}, err
	}
	tag, err := c.conn.Exec(ctx, string(what), argument, changedRows)
	if err != nil {
		return sample{}, fmt.Errorf("change table %s: %w", c.table, err)
	}
	if tag.RowsAffected() != changedRows {
		return sample{}, fmt.Errorf("change table %s: %d rows, want %d", c.table, tag.RowsAffected(), changedRows)
	}
	if what == addRows {
		c.rows += changedRows
	}
	return c.run(ctx, changedRows)
}

// finish has a run end at least an overlap after the last change, so that the
// next one does not see that again.
func (c *catchingUp) finish(ctx context.Context) error {
	if _, err := c.conn.Exec(ctx, "select pg_sleep($1)", overlap.Seconds()); err != nil {
		return fmt.Errorf("let the overlap pass: %w", err)
	}
	_, err := c.run(ctx, 0)
	return err
}

// run runs `migrate` again, through the proxy. Afterwards each row must have
// exactly one document.
func (c *catchingUp) run(ctx context.Context, fresh int64) (sample, error) {
	requests, sent := c.via.requests.Load(), c.via.sentBytes.Load()
	var got migrate.Summary
	s, err := c.watched(func(ctx context.Context) (sample, error) {
		return c.tool(ctx, &got, "migrate", "--target", c.via.url, "--overlap", overlap.String())
	})(ctx)
	if err != nil {
		return sample{}, err
	}
	s.Requests, s.SentBytes = c.via.requests.Load()-requests, c.via.sentBytes.Load()-sent
	s.nodes = got.Run.Nodes
	documents, err := c.api.Count(ctx, alias, nil)
	if err == nil && (documents != c.rows || got.Run.Nodes != fresh) {
		err = fmt.Errorf("catch up: %d nodes sent and %d documents, want %d and %d", got.Run.Nodes, documents, fresh, c.rows)
	}
	return s, err
}

// newCatchUpPart compares catching up with few and with many rows.
func newCatchUpPart(few, many *catchUp) *part {
	times := func(figure func(sample) float64) float64 {
		return many.rewritten.median(figure) / few.rewritten.median(figure)
	}
	return &part{
		Name: "Catch-up", Rows: many.filled.Rows, Bytes: many.filled.Bytes,
		Series: []*series{few.nothing, few.added, few.rewritten, many.nothing, many.added, many.rewritten},
		columns: []column{
			{"s", "%.2f", sample.seconds},
			{"requests", "%.0f", sample.requests},
			{"kB sent", "%.0f", sample.sentKilobytes},
			{"CPU s", "%.2f", sample.cpuSeconds},
			{"OpenSearch", "%.2f", sample.openSearchSeconds},
			{"PostgreSQL", "%.2f", sample.postgresSeconds},
			{"peak MiB", "%.0f", sample.peakMebibytes},
		},
		Verdicts: []verdict{
			atMost("time to catch up, times that with a tenth of the rows", times(sample.seconds), wantedCatchUpTime),
			atMost("requests to catch up, times those with a tenth of the rows", times(sample.requests), wantedCatchUpTraffic),
			atMost("bytes to catch up, times those with a tenth of the rows", times(sample.sentKilobytes), wantedCatchUpTraffic),
			many.stale(),
		},
	}
}
