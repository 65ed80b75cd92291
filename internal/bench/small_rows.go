package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
)

const (
	// smallTable has rows that are small, so that there can be many.
	smallTable = table + "_small"
	// fewerTimes is how many times fewer rows the smaller of two tables has.
	fewerTimes = 10
)

// smallEvent is the inner bytes of every small row.
const smallEvent = `{"event_id":"4c3e1a0d6b5f4f7e8a9b0c1d2e3f4a5b","platform":"python","level":"error","message":"small"}`

// smallPayload is the column's text of a small row.
func smallPayload() (string, error) {
	var stream bytes.Buffer
	w := zlib.NewWriter(&stream)
	if _, err := w.Write([]byte(smallEvent)); err != nil {
		return "", err
	}
	err := w.Close()
	return base64.StdEncoding.EncodeToString(stream.Bytes()), err
}

// measureSmallRows measures what depends on the number of rows and not on their
// size: comparing ids, and catching up, the latter with a tenth of the rows too.
func (b *bed) measureSmallRows(ctx context.Context, o options) (parts []*part, err error) {
	conn, err := pgx.Connect(ctx, b.source)
	if err != nil {
		return nil, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var few *catchUp
	if o.wants(catchUpPart) {
		j, filled, err := b.migrateSmallRows(ctx, conn, o.rows/fewerTimes)
		if err != nil {
			return nil, err
		}
		if few, err = j.measureCatchUp(ctx, conn, filled, o.rounds); err != nil {
			return nil, err
		}
	}
	j, filled, err := b.migrateSmallRows(ctx, conn, o.rows)
	if err != nil {
		return nil, err
	}
	if o.wants(verifyPart) {
		ids, err := j.measureIDs(ctx, filled, o.rounds)
		if err != nil {
			return nil, err
		}
		parts = append(parts, ids)
	}
	if !o.wants(catchUpPart) {
		return parts, nil
	}
	many, err := j.measureCatchUp(ctx, conn, filled, o.rounds)
	if err != nil {
		return nil, err
	}
	return append(parts, newCatchUpPart(few, many)), nil
}

// migrateSmallRows makes a table and copies it.
func (b *bed) migrateSmallRows(ctx context.Context, conn *pgx.Conn, rows int) (*job, synth.Count, error) {
	say(fmt.Sprintf("Making and copying %d small rows ...", rows))
	filled := synth.Count{Rows: int64(rows)}
	if err := b.dropIndices(ctx); err != nil {
		return nil, filled, err
	}
	of, err := b.fillSmall(ctx, conn, filling{table: smallTable, days: b.days, rows: filled.Rows})
	if err != nil {
		return nil, filled, err
	}
	filled.Bytes = of.bytes
	j, err := b.newJob(smallTable)
	if err != nil {
		return nil, filled, err
	}
	_, err = j.copy(ctx)
	return j, filled, err
}

// fillSmall makes a table of small rows, evenly over its days.
func (b *bed) fillSmall(ctx context.Context, conn *pgx.Conn, of filling) (filling, error) {
	if err := b.createTable(ctx, conn, of.table); err != nil {
		return of, err
	}
	payload, err := smallPayload()
	if err != nil {
		return of, fmt.Errorf("make a payload: %w", err)
	}
	of.bytes = of.rows * int64(len(payload))
	_, err = conn.Exec(ctx, `insert into `+of.table+` ("id", "data", "timestamp")
		select md5(i::text), $1, $2::timestamptz + i * (($3::timestamptz - $2) / $4::bigint) from generate_series(0, $4::bigint - 1) i`,
		payload, time.UnixMicro(of.days[len(of.days)-1].Start()), time.UnixMicro(of.days[0].End()), of.rows)
	if err != nil {
		return of, fmt.Errorf("fill table %s: %w", of.table, err)
	}
	return of, settle(ctx, conn, of.table)
}
