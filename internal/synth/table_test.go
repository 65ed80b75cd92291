package synth

import (
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

func TestMain(m *testing.M) { os.Exit(testservers.Run(m)) }

func TestFill(t *testing.T) {
	t.Parallel()
	for _, version := range testservers.PostgresVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, version)
			if err := CreateTable(t.Context(), conn, "nodestore_node"); err != nil {
				t.Fatal(err)
			}
			o := options(1000)
			o.Distinct = 20
			summary, err := Fill(t.Context(), conn, "nodestore_node", o)
			if err != nil {
				t.Fatal(err)
			}
			checkSummary(t, conn, o, summary)
			checkRows(t, conn, o)
		})
	}
}

func connect(t *testing.T, version string) *pgx.Conn {
	conn, err := pgx.Connect(t.Context(), testservers.Postgres(t, version))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func checkSummary(t *testing.T, conn *pgx.Conn, o Options, summary Summary) {
	var stored Count
	var estimate float64
	err := conn.QueryRow(t.Context(), `select count(*), sum(octet_length(data)),
		(select reltuples from pg_class where oid = 'nodestore_node'::regclass) from nodestore_node`).Scan(&stored.Rows, &stored.Bytes, &estimate)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Total() != stored || stored.Rows != int64(o.Rows) || estimate != float64(o.Rows) {
		t.Errorf("summary %+v, stored %+v, estimate %v", summary.Total(), stored, estimate)
	}
	unreadable := summary[Pickle].Rows + summary[Empty].Rows + summary[CorruptBase64].Rows + summary[CorruptZlib].Rows
	if summary.Readable().Rows+unreadable != stored.Rows || unreadable == 0 {
		t.Errorf("%d readable rows and %d others of %d", summary.Readable().Rows, unreadable, stored.Rows)
	}
}

func checkRows(t *testing.T, conn *pgx.Conn, o Options) {
	made := make(map[string]Row)
	for row := range Rows(o) {
		made[row.ID] = row
	}
	rows, err := conn.Query(t.Context(), `select id, data, "timestamp" from nodestore_node`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var got Row
		if err := rows.Scan(&got.ID, &got.Data, &got.Timestamp); err != nil {
			t.Fatal(err)
		}
		if want := made[got.ID]; got.Data != want.Data || !got.Timestamp.Equal(want.Timestamp) {
			t.Fatalf("%s: another row than was made", got.ID)
		}
		delete(made, got.ID)
	}
	if err := rows.Err(); err != nil || len(made) > 0 {
		t.Errorf("%d rows are missing, %v", len(made), err)
	}
}

func TestCreateTableAsDjangoDoes(t *testing.T) {
	t.Parallel()
	conn := connect(t, testservers.PostgresVersions()[0])
	if _, err := conn.Exec(t.Context(), "create schema region"); err != nil {
		t.Fatal(err)
	}
	if err := CreateTable(t.Context(), conn, "region.nodestore_node"); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), "select indexdef from pg_indexes where schemaname = 'region' order by indexname")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CREATE INDEX nodestore_node_id_819ef2ee_like ON region.nodestore_node USING btree (id varchar_pattern_ops)",
		"CREATE UNIQUE INDEX nodestore_node_pkey ON region.nodestore_node USING btree (id)",
		`CREATE INDEX nodestore_node_timestamp_a6fca047 ON region.nodestore_node USING btree ("timestamp")`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("indexes %q\nwant %q", got, want)
	}
	if err := CreateTable(t.Context(), conn, "region.nodestore_node"); err == nil {
		t.Error("an existing table was created again")
	}
}

func TestFillMissingTable(t *testing.T) {
	t.Parallel()
	conn := connect(t, testservers.PostgresVersions()[0])
	if summary, err := Fill(t.Context(), conn, "nodestore_node", options(10)); err == nil || summary != (Summary{}) {
		t.Errorf("summary %v, error %v", summary.Total(), err)
	}
}
