package synth

import (
	"context"
	"crypto/md5"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"
)

// CreateTable creates an empty table as Sentry's Django migration does, with
// its primary key, the two indexes, and Django's names for them. The table may
// be qualified by a schema; it must not exist.
func CreateTable(ctx context.Context, conn *pgx.Conn, table string) error {
	quoted := identifier(table).Sanitize()
	statements := [...]string{
		`create table ` + quoted + ` (
			"id" varchar(40) not null primary key,
			"data" text not null,
			"timestamp" timestamp with time zone not null)`,
		`create index ` + indexName(table, "id", "_like") + ` on ` + quoted + ` ("id" varchar_pattern_ops)`,
		`create index ` + indexName(table, "timestamp", "") + ` on ` + quoted + ` ("timestamp")`,
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("create table %s: %w", table, err)
		}
	}
	return nil
}

func identifier(table string) pgx.Identifier { return strings.Split(table, ".") }

// indexName is Django's: the table, the column, and eight hex digits of the
// MD5 of both.
func indexName(table, column, suffix string) string {
	parts := identifier(table)
	table = parts[len(parts)-1]
	digest := md5.Sum([]byte(table + column))
	return pgx.Identifier{fmt.Sprintf("%s_%s_%x%s", table, column, digest[:4], suffix)}.Sanitize()
}

// Count is a number of rows and the bytes of their data.
type Count struct {
	Rows, Bytes int64
}

// Summary counts rows by Kind.
type Summary [kindCount]Count

func (s *Summary) add(row Row) {
	s[row.Kind].Rows++
	s[row.Kind].Bytes += int64(len(row.Data))
}

// Total is the sum over all kinds.
func (s Summary) Total() (total Count) {
	for _, c := range s {
		total.Rows += c.Rows
		total.Bytes += c.Bytes
	}
	return total
}

// Readable is the sum over the kinds that Sentry on OpenSearch can read.
func (s Summary) Readable() (total Count) {
	for kind, c := range s {
		if Kind(kind).Readable() {
			total.Rows += c.Rows
			total.Bytes += c.Bytes
		}
	}
	return total
}

// Fill copies the rows that o describes into an existing table, all or none,
// and has PostgreSQL gather the table's statistics, as autovacuum would have.
func Fill(ctx context.Context, conn *pgx.Conn, table string, o Options) (Summary, error) {
	next, stop := iter.Pull(Rows(o))
	defer stop()
	var summary Summary
	rows := pgx.CopyFromFunc(func() ([]any, error) {
		row, ok := next()
		if !ok {
			return nil, nil
		}
		summary.add(row)
		return []any{row.ID, row.Data, row.Timestamp}, nil
	})
	name := identifier(table)
	if _, err := conn.CopyFrom(ctx, name, []string{"id", "data", "timestamp"}, rows); err != nil {
		return Summary{}, fmt.Errorf("fill table %s: %w", table, err)
	}
	if _, err := conn.Exec(ctx, "analyze "+name.Sanitize()); err != nil {
		return Summary{}, fmt.Errorf("analyze table %s: %w", table, err)
	}
	return summary, nil
}
