package source

import (
	"context"
	"fmt"
	"slices"
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

// NoTableError says that there is no such table.
type NoTableError struct {
	Table, Database string
	SearchPath      string
	Near            string // tables whose name looks like that of one, "" if there is none
}

func (e *NoTableError) Error() string {
	return fmt.Sprintf("no table %s in database %q, search path %s", e.Table, e.Database, e.SearchPath)
}

// ColumnError says that a relation is not a nodestore's: a column is not there,
// or of a type that cannot be read.
type ColumnError struct {
	Relation, Column string
	Has, Want        string // its type, "" if it is not there, and those that can be read
}

func (e *ColumnError) Error() string {
	if e.Has == "" {
		return fmt.Sprintf("%s has no column %s", e.Relation, e.Column)
	}
	return fmt.Sprintf("column %s of %s is %s, want %s", e.Column, e.Relation, e.Has, e.Want)
}

// inspected is what there is to know of a relation before it is read.
type inspected struct {
	relation Relation
	origin   node.Origin // its region is the operator's to name
	sql      statements
}

// inspection finds that out, step by step.
type inspection struct {
	*server
	inspected
	oid string
}

func inspect(ctx context.Context, server *server, table string) (inspected, error) {
	s := &inspection{server: server}
	s.relation.ServerVersion, s.relation.ServerText = server.version, server.text
	if err := s.findTable(ctx, table); err != nil {
		return inspected{}, err
	}
	for _, step := range []func(context.Context) error{s.columns, s.size, s.idIndexes, s.timeIndexes, s.system} {
		if err := step(ctx); err != nil {
			return inspected{}, err
		}
	}
	return s.inspected, nil
}

func (s *inspection) findTable(ctx context.Context, table string) error {
	var kind string
	found := false
	err := s.queryEach(ctx, "find table "+table, fmt.Sprintf(
		`select c.oid, n.nspname, c.relname, c.relkind, pg_is_in_recovery(), current_database()
		 from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass(%s)`, textLiteral(table)),
		func() error { found = true; return nil },
		&s.oid, &s.relation.Schema, &s.relation.Name, &kind, &s.relation.InRecovery, &s.origin.Database)
	if err != nil {
		return err
	}
	if !found {
		return s.noTable(ctx, table)
	}
	kinds := map[string]Kind{"r": Table, "p": Partitioned, "v": View}
	if s.relation.Kind = kinds[kind]; s.relation.Kind == "" {
		return hint.Add(fmt.Errorf("%s is not a table or a view (relkind %s)", table, kind),
			"name the table that Sentry itself reads")
	}
	s.sql.relation = quoteIdentifier(s.relation.Schema) + "." + quoteIdentifier(s.relation.Name)
	s.origin.Table = s.relation.Schema + "." + s.relation.Name
	return nil
}

func (s *inspection) noTable(ctx context.Context, table string) error {
	missing := NoTableError{Table: table}
	err := s.queryRow(ctx, "find similar tables",
		`select current_database(), current_schemas(false), (select string_agg(name, ', ') from (
		   select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
		   where c.relkind in ('r', 'p', 'v') and c.relname ilike '%nodestore%' and not c.relispartition
		   order by 1 limit 5) near)`, &missing.Database, &missing.SearchPath, &missing.Near)
	if err != nil {
		return err
	}
	silo, err := siloOf(ctx, s.server, "")
	if err != nil {
		return err
	}
	if silo.Kind == ControlSilo {
		return &SiloError{Silo: silo}
	}
	return &missing
}

// columns checks that the columns exist, may be read, and have types
// whose binary form is known.
func (s *inspection) columns(ctx context.Context) error {
	types := map[string]string{}
	var name, kind, role string
	var column, schema bool
	err := s.queryEach(ctx, "read columns of "+s.sql.relation, fmt.Sprintf(
		`select a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null),
		        has_column_privilege(a.attrelid, a.attnum, 'select'), has_schema_privilege(c.relnamespace, 'usage'), quote_ident(current_user)
		 from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_class c on c.oid = a.attrelid
		 where a.attrelid = %s and a.attname in ('id', 'data', 'timestamp') and not a.attisdropped`, s.oid), func() error {
		types[name] = kind
		if column && schema {
			return nil
		}
		return hint.Add(fmt.Errorf("role %s may not read column %s of %s", role, name, s.sql.relation),
			fmt.Sprintf("run: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[2]s;",
				quoteIdentifier(s.relation.Schema), role, s.sql.relation))
	}, &name, &kind, &column, &schema, &role)
	if err != nil {
		return err
	}
	for _, name := range []string{"id", "data", "timestamp"} {
		if types[name] == "" {
			return &ColumnError{Relation: s.sql.relation, Column: name}
		}
	}
	s.sql.id, s.relation.Encoding = `"id"`, Text
	switch types["id"] {
	case "text", "character varying":
	case "character", "bpchar", "uuid":
		s.sql.id, s.sql.uuid = `"id"::text`, types["id"] == "uuid"
	default:
		return &ColumnError{s.sql.relation, "id", types["id"], "text"}
	}
	switch types["data"] {
	case "text", "character varying":
	case "bytea":
		s.relation.Encoding = Bytea
	default:
		return &ColumnError{s.sql.relation, "data", types["data"], "text or bytea"}
	}
	if has, want := types["timestamp"], "timestamp with time zone"; has != want {
		return &ColumnError{s.sql.relation, "timestamp", has, want}
	}
	return nil
}

func (s *inspection) idIndexes(ctx context.Context) error {
	err := s.queryRow(ctx, "read indexes of "+s.sql.relation, fmt.Sprintf(
		`select exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
		 where i.indrelid = %[1]s and i.indisunique and i.indisvalid and i.indpred is null and i.indnkeyatts = 1 and a.attname = 'id')
		 and not exists (select from pg_inherits h join pg_class c on c.oid = h.inhparent where c.oid = %[1]s and c.relkind <> 'p')`, s.oid), &s.relation.UniqueID) // what inherits has an index of its own
	if err != nil {
		return err
	}
	plans, err := s.explain(ctx, s.sql.relation, `set local enable_seqscan = off;
		explain (verbose, format json) select 1 from `+s.sql.relation+` where "id" = '00000000-0000-0000-0000-000000000000'`)
	if err != nil {
		return err
	}
	s.relation.IDIndexed = !slices.ContainsFunc(plans[0].steps(), func(step plan) bool { return step.NodeType == "Seq Scan" })
	return nil
}

// timeIndexes asks the planner, which covers partitions, views and whatever
// else there is: without an index that leads with timestamp, it has to scan or
// to sort.
func (s *inspection) timeIndexes(ctx context.Context) error {
	plans, err := s.explain(ctx, s.sql.relation, `set local enable_seqscan = off; set local enable_sort = off; set local enable_bitmapscan = off;
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
func (s *inspection) prunes(ctx context.Context) (little bool, err error) {
	var bound string
	err = s.queryEach(ctx, "read bounds of partitions", `select (regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('([^']*)'$$))[1]
		from `+s.sql.beneath()+` where c.relispartition order by pg_relation_size(c.oid) desc limit 1`, func() error { return nil }, &bound)
	if err != nil {
		return false, err
	}
	first, err := parseTimestamp(bound)
	if err != nil {
		//lint:ignore nilerr not a range of timestamps
		return false, nil
	}
	plans, err := s.explain(ctx, s.sql.relation, `explain (verbose, format json) select "timestamp" from `+s.sql.relation+" where "+inRange(first, first+node.Day(1).Start()))
	if err != nil {
		return false, err
	}
	read := []string{"(null, null)"}
	for _, step := range plans[0].steps() {
		read = append(read, step.literal())
	}
	err = s.queryRow(ctx, "read sizes of partitions", fmt.Sprintf(
		`select coalesce(sum(pg_relation_size(c.oid)) filter (where (n.nspname, c.relname) in (%s)), 0) <= greatest(sum(pg_relation_size(c.oid)) / 8, %d) from %s`,
		strings.Join(read, ","), manyHeapBytes, s.sql.beneath()), &little)
	return little, err
}

func (s *inspection) size(ctx context.Context) error {
	plans, err := s.explain(ctx, s.sql.relation, `explain (verbose, format json) select "id", "data", "timestamp" from `+s.sql.relation)
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
	var empty, analysed bool
	// A table that was never analysed has reltuples -1, before PostgreSQL 14 0.
	err = s.queryRow(ctx, "read size of "+s.sql.relation, fmt.Sprintf(
		`select sum(pg_table_size(c.oid))::bigint, max(pg_relation_size(c.oid)) = 0, max(c.reltuples) > 0
		 from pg_class c join pg_namespace n on n.oid = c.relnamespace where (n.nspname, c.relname) in (%s)`, s.sql.tables),
		&s.relation.Bytes, &empty, &analysed)
	switch {
	case empty:
	case analysed:
		s.relation.Rows = int64(plans[0].Rows)
	default:
		s.relation.Rows = -1
	}
	return err
}

// system asks for the system identifier, which not every role may see.
func (s *inspection) system(ctx context.Context) error {
	err := s.queryRow(ctx, "read system identifier", "select system_identifier from pg_control_system()", &s.origin.System)
	if isRefused(err) {
		return nil
	}
	return err
}
