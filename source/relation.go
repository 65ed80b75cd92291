package source

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Kind is what sort of relation holds the nodes.
type Kind string

// The kinds that can be read.
const (
	Table       Kind = "table"
	Partitioned Kind = "partitioned table"
	View        Kind = "view"
)

// Encoding is how the data column holds a payload.
type Encoding string

// The encodings.
const (
	Text  Encoding = "text"  // base64(zlib(inner bytes))
	Bytea Encoding = "bytea" // the zlib stream itself
)

// Relation is what Open found out about the table.
type Relation struct {
	Schema, Name     string
	Kind             Kind
	Encoding         Encoding
	ServerVersion    int      // server_version_num, such as 170007
	ServerText       string   // version(), the server's own description of itself
	TimestampIndexed bool     // the planner can read any time range through an index, on each partition
	Prunes           bool     // or else, of a day it reads few of the partitions
	Tables           []string // beneath, quoted, with their schemas
	Unindexed        []string // those of Tables without an index that leads with timestamp
	IDIndexed        bool     // the planner can look ids up through an index, on each partition
	UniqueID         bool     // a unique or primary key on exactly id: no id comes twice
	Bytes            int64    // heap and TOAST of all tables beneath, as stored
	Rows             int64    // the planner's estimate, -1 if no table beneath was ever analysed
	InRecovery       bool     // the server is a standby
}

// Identity tells which data a source is, the same on a standby and its primary.
type Identity struct {
	System   string // the cluster's system identifier, "" where the role may not see it
	Database string
	Table    string // schema.name
}

// oldestServer is the first version that has date_trunc with a time zone; older
// ones get no fixes any more.
const oldestServer = 120000

func (s *Source) inspect(ctx context.Context, table string) error {
	if err := s.inspectServer(ctx); err != nil {
		return err
	}
	oid, err := s.findTable(ctx, table)
	if err != nil {
		return err
	}
	if err := s.inspectColumns(ctx, oid); err != nil {
		return err
	}
	if err := s.inspectSize(ctx); err != nil {
		return err
	}
	if err := s.inspectIndexes(ctx, oid); err != nil {
		return err
	}
	return s.inspectIdentity(ctx)
}

// inspectServer uses no prologue, since other products refuse parts of it. Only
// isolation and access are set: a role's default may be what a standby does not have.
func (s *Source) inspectServer(ctx context.Context) error {
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.pool.release(conn)
	const what = "read server version"
	results, err := conn.Exec(ctx, "set transaction isolation level read committed, read only; select version(), current_setting('server_version_num')").ReadAll()
	if err != nil {
		return queryFailure(ctx, what, err)
	}
	last := len(results) - 1
	if last < 0 || len(results[last].Rows) != 1 {
		return fmt.Errorf("%s: the server did not answer with one row", what)
	}
	row := textRows(results[last].Rows)[0]
	s.relation.ServerText = row[0]
	s.relation.ServerVersion, err = strconv.Atoi(row[1])
	if err != nil || !strings.HasPrefix(row[0], "PostgreSQL") || s.relation.ServerVersion < oldestServer {
		return hint.Add(fmt.Errorf("%s: %.60q is not PostgreSQL 12 or newer", what, row[0]),
			"connect to the PostgreSQL server that Sentry uses; a server older than 12 has to be upgraded first")
	}
	if s.relation.ServerVersion >= 170000 {
		s.prologue += prologue17
	}
	s.opened = true
	return nil
}

func (s *Source) findTable(ctx context.Context, table string) (oid string, err error) {
	results, err := s.query(ctx, "find table "+table, fmt.Sprintf(
		`select c.oid, n.nspname, c.relname, c.relkind, pg_is_in_recovery()
		 from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass(%s)`, textLiteral(table)))
	if err != nil {
		return "", err
	}
	if len(results[0]) == 0 {
		return "", s.noSuchTable(ctx, table)
	}
	row := results[0][0]
	s.relation.Schema, s.relation.Name, s.relation.InRecovery = row[1], row[2], row[4] == "t"
	kinds := map[string]Kind{"r": Table, "p": Partitioned, "v": View}
	kind, ok := kinds[row[3]]
	if !ok {
		return "", hint.Add(fmt.Errorf("%s is not a table or a view (relkind %s)", table, row[3]),
			"name the table that Sentry itself reads")
	}
	s.relation.Kind = kind
	s.sql.relation = quoteIdentifier(row[1]) + "." + quoteIdentifier(row[2])
	return row[0], nil
}

func (s *Source) noSuchTable(ctx context.Context, table string) error {
	row, err := s.queryRow(ctx, "find similar tables",
		`select current_database(), current_schemas(false), (select string_agg(name, ', ') from (
		   select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
		   where c.relkind in ('r', 'p', 'v') and c.relname ilike '%nodestore%' and not c.relispartition
		   order by 1 limit 5) near)`)
	if err != nil {
		return err
	}
	silo, err := s.Silo(ctx)
	if err != nil {
		return err
	}
	if silo.Kind == ControlSilo {
		return silo.controlError()
	}
	remedy := "no table here has nodestore in its name: check that this is the database of the Sentry region, not of its control silo"
	if row[2] != "" {
		remedy = "did you mean " + row[2] + "? Name it with --table"
	}
	return hint.Add(fmt.Errorf("no table %s in database %q, search path %s", table, row[0], row[1]), remedy)
}

// inspectColumns checks that the columns exist, may be read, and have types
// whose binary form is known.
func (s *Source) inspectColumns(ctx context.Context, oid string) error {
	results, err := s.query(ctx, "read columns of "+s.sql.relation, fmt.Sprintf(
		`select a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null),
		        has_column_privilege(a.attrelid, a.attnum, 'select'), has_schema_privilege(c.relnamespace, 'usage'), quote_ident(current_user)
		 from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_class c on c.oid = a.attrelid
		 where a.attrelid = %s and a.attname in ('id', 'data', 'timestamp') and not a.attisdropped`, oid))
	if err != nil {
		return err
	}
	types := map[string]string{}
	for _, row := range results[0] {
		types[row[0]] = row[1]
		if row[2] != "t" || row[3] != "t" {
			return hint.Add(fmt.Errorf("role %s may not read column %s of %s", row[4], row[0], s.sql.relation),
				fmt.Sprintf("run: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[2]s;",
					quoteIdentifier(s.relation.Schema), row[4], s.sql.relation))
		}
	}
	for _, name := range []string{"id", "data", "timestamp"} {
		if types[name] == "" {
			return hint.Add(fmt.Errorf("%s has no column %s", s.sql.relation, name),
				"a nodestore table has the columns id, data and timestamp: check --table")
		}
	}
	return s.chooseTypes(types)
}

func (s *Source) chooseTypes(types map[string]string) error {
	s.sql.id = `"id"`
	switch types["id"] {
	case "text", "character varying":
	case "character", "bpchar", "uuid":
		s.sql.id, s.sql.uuid = `"id"::text`, types["id"] == "uuid"
	default:
		return s.typeError("id", types["id"], "text")
	}
	switch types["data"] {
	case "text", "character varying":
		s.relation.Encoding = Text
	case "bytea":
		s.relation.Encoding = Bytea
	default:
		return s.typeError("data", types["data"], "text or bytea")
	}
	if types["timestamp"] != "timestamp with time zone" {
		return s.typeError("timestamp", types["timestamp"], "timestamp with time zone")
	}
	return nil
}

func (s *Source) typeError(column, has, want string) error {
	return hint.Add(fmt.Errorf("column %s of %s is %s, want %s", column, s.sql.relation, has, want),
		fmt.Sprintf("migrate from a view that has column %s as %s, and name it with --table", column, want))
}

func (s *Source) inspectIndexes(ctx context.Context, oid string) error {
	row, err := s.queryRow(ctx, "read indexes of "+s.sql.relation, fmt.Sprintf(
		`select exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
		 where i.indrelid = %[1]s and i.indisunique and i.indisvalid and i.indpred is null and i.indnkeyatts = 1 and a.attname = 'id')
		 and not exists (select from pg_inherits h join pg_class c on c.oid = h.inhparent where c.oid = %[1]s and c.relkind <> 'p')`, oid)) // what inherits has an index of its own
	if err != nil {
		return err
	}
	s.relation.UniqueID = row[0] == "t"
	plans, err := s.explain(ctx, `set local enable_seqscan = off;
		explain (verbose, format json) select 1 from `+s.sql.relation+` where "id" = '00000000-0000-0000-0000-000000000000'`)
	if err != nil {
		return err
	}
	s.relation.IDIndexed = !slices.ContainsFunc(plans[0].steps(), func(step plan) bool { return step.NodeType == "Seq Scan" })
	return s.inspectTime(ctx)
}

// inspectTime asks the planner, which covers partitions, views and whatever
// else there is: without an index that leads with timestamp, it has to scan or
// to sort.
func (s *Source) inspectTime(ctx context.Context) error {
	plans, err := s.explain(ctx, `set local enable_seqscan = off; set local enable_sort = off; set local enable_bitmapscan = off;
		explain (verbose, format json) select "timestamp" from `+s.sql.relation+" where "+inRange(minMicros, maxMicros)+` order by "timestamp" limit 1`)
	if err != nil {
		return err
	}
	s.relation.TimestampIndexed = true
	for _, step := range plans[0].steps() {
		switch step.NodeType {
		case "Seq Scan":
			s.relation.Unindexed = append(s.relation.Unindexed, step.table())
			s.relation.TimestampIndexed = false
		case "Sort", "Incremental Sort":
			s.relation.TimestampIndexed = false
		}
	}
	if s.relation.TimestampIndexed {
		// A slice is a small part of the table: one bad estimate must not cost
		// a scan of all of it.
		s.sql.settings = "set local enable_seqscan = off;\n"
		return nil
	}
	s.relation.Prunes, err = s.prunes(ctx)
	return err
}

// manyHeapBytes is more than each slice may read beside its payloads.
const manyHeapBytes = 1 << 30

// prunes says whether the planner reads little for a day: of the largest
// partition, its first.
func (s *Source) prunes(ctx context.Context) (bool, error) {
	results, err := s.query(ctx, "read bounds of partitions", `select (regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('([^']*)'$$))[1]
		from `+s.beneath()+` where c.relispartition order by pg_relation_size(c.oid) desc limit 1`)
	if err != nil || len(results[0]) == 0 {
		return false, err
	}
	first, err := parseTimestamp(results[0][0][0])
	if err != nil {
		//lint:ignore nilerr not a range of timestamps
		return false, nil
	}
	plans, err := s.explain(ctx, `explain (verbose, format json) select "timestamp" from `+s.sql.relation+" where "+inRange(first, first+node.Day(1).Start()))
	if err != nil {
		return false, err
	}
	read := []string{"(null, null)"}
	for _, step := range plans[0].steps() {
		read = append(read, step.literal())
	}
	row, err := s.queryRow(ctx, "read sizes of partitions", fmt.Sprintf(
		`select coalesce(sum(pg_relation_size(c.oid)) filter (where (n.nspname, c.relname) in (%s)), 0) <= greatest(sum(pg_relation_size(c.oid)) / 8, %d) from %s`,
		strings.Join(read, ","), manyHeapBytes, s.beneath()))
	return err == nil && row[0] == "t", err
}

func (s *Source) inspectSize(ctx context.Context) error {
	plans, err := s.explain(ctx, `explain (verbose, format json) select "id", "data", "timestamp" from `+s.sql.relation)
	if err != nil {
		return err
	}
	var tables []string
	for _, step := range plans[0].steps() {
		if step.Relation != "" {
			tables = append(tables, step.literal())
			s.relation.Tables = append(s.relation.Tables, step.table())
		}
	}
	if len(tables) == 0 { // a partitioned table without partitions
		return nil
	}
	s.sql.tables = strings.Join(tables, ",")
	// A table that was never analysed has reltuples -1, before PostgreSQL 14 0.
	row, err := s.queryRow(ctx, "read size of "+s.sql.relation, fmt.Sprintf(
		`select sum(pg_table_size(c.oid))::bigint, max(pg_relation_size(c.oid)) = 0, max(c.reltuples) > 0
		 from pg_class c join pg_namespace n on n.oid = c.relnamespace where (n.nspname, c.relname) in (%s)`, s.sql.tables))
	if err != nil {
		return err
	}
	if s.relation.Bytes, err = strconv.ParseInt(row[0], 10, 64); err != nil {
		return fmt.Errorf("read size of %s: %w", s.sql.relation, err)
	}
	empty, analysed := row[1] == "t", row[2] == "t"
	switch {
	case empty:
		s.relation.Rows = 0
	case analysed:
		s.relation.Rows = int64(plans[0].Rows)
	default:
		s.relation.Rows = -1
	}
	return nil
}

func (s *Source) inspectIdentity(ctx context.Context) error {
	row, err := s.queryRow(ctx, "read identity", "select current_database()")
	if err != nil {
		return err
	}
	s.identity = Identity{Database: row[0], Table: s.relation.Schema + "." + s.relation.Name}
	row, err = s.queryRow(ctx, "read system identifier", "select system_identifier from pg_control_system()")
	if isRefused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.identity.System = row[0]
	return nil
}
