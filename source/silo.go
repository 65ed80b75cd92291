package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// SiloKind is what part of a Sentry a database holds.
type SiloKind string

// The kinds of silos.
const (
	Monolith       SiloKind = "monolith"             // all of Sentry
	RegionSilo     SiloKind = "region"               // one region's (lately: cell's) data
	ControlSilo    SiloKind = "control"              // users and routing, no nodestore
	SeveralRegions SiloKind = "several_regions"      // one nodestore_node for more than one region
	SplitLeftover  SiloKind = "left_behind_by_split" // the monolith that bin/split-silo-database copied out of
	NodestoreAlone SiloKind = "nodestore_alone"      // no other table of Sentry has rows
	UnknownSilo    SiloKind = "unknown"              // the tables that would tell may not be read
)

// Evidence is what a table says about a silo.
type Evidence string

// The kinds of evidence. Only rows count: after a split, tables stay behind empty.
const (
	Absent     Evidence = "absent"
	Unreadable Evidence = "unreadable" // the role may not select from it
	EmptyTable Evidence = "empty"
	HasRows    Evidence = "rows"
)

// Silo is what part of Sentry a database holds, and how that is known.
type Silo struct {
	Kind     SiloKind            `json:"kind"`
	Database string              `json:"database"`
	Tables   map[string]Evidence `json:"tables"`             // the tables that tell
	Regions  []string            `json:"regions,omitempty"`  // distinct names in the organization mapping, at most maxRegions
	Siblings []string            `json:"siblings,omitempty"` // databases beside this one, as a split names them
}

const mappingTable = "sentry_organizationmapping"

// maxRegions bounds the list of regions: Sentry's own have fewer.
const maxRegions = 10

// controlTables and regionTables have rows where Sentry's silo modes put them:
// a monolith has rows in both.
func controlTables() []string { return []string{"auth_user", mappingTable, "sentry_controloutbox"} }

func regionTables() []string {
	return []string{"sentry_organization", "sentry_project", "sentry_groupedmessage"}
}

// Silo tells what part of Sentry the database holds, by the tables that have
// rows. It reads at most one row of each, and the organization mapping.
func (s *Source) Silo(ctx context.Context) (Silo, error) {
	silo := Silo{Tables: map[string]Evidence{}}
	tables, err := s.siloTables(ctx, &silo)
	if err != nil {
		return Silo{}, err
	}
	if err := s.siloRows(ctx, &silo, tables); err != nil {
		return Silo{}, err
	}
	silo.Kind = silo.judge()
	return silo, nil
}

// siloTables finds the tables that tell, and returns the quoted names of those
// that may be read. They are looked for beside the relation and in the search path.
func (s *Source) siloTables(ctx context.Context, silo *Silo) (readable map[string]string, err error) {
	var names []string
	for _, name := range slices.Concat(controlTables(), regionTables()) {
		silo.Tables[name] = Absent
		names = append(names, textLiteral(name))
	}
	results, err := s.query(ctx, "find Sentry's tables", fmt.Sprintf(
		`select distinct on (c.relname) c.relname, n.nspname, has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
		 from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where c.relname in (%s) and c.relkind in ('r', 'p', 'v') and (n.nspname = %[2]s or n.nspname = any(current_schemas(false)))
		 order by c.relname, n.nspname <> %[2]s, array_position(current_schemas(false), n.nspname);
		 select datname from pg_database where datname in ('control', 'region') and datname <> current_database() order by 1;
		 select current_database()`, strings.Join(names, ","), textLiteral(s.relation.Schema)))
	if err != nil {
		return nil, err
	}
	readable = map[string]string{}
	for _, row := range results[0] {
		silo.Tables[row[0]] = Unreadable
		if row[2] == "t" {
			readable[row[0]] = quoteIdentifier(row[1]) + "." + quoteIdentifier(row[0])
		}
	}
	for _, row := range results[1] {
		silo.Siblings = append(silo.Siblings, row[0])
	}
	silo.Database = results[2][0][0]
	return readable, nil
}

func (s *Source) siloRows(ctx context.Context, silo *Silo, readable map[string]string) error {
	for name, quoted := range readable {
		row, err := s.queryRow(ctx, "look for rows of "+quoted, "select exists (select 1 from "+quoted+")")
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == codeInsufficientPrivilege {
			continue // row security hides an unknown part of it
		}
		if err != nil {
			return err
		}
		silo.Tables[name] = EmptyTable
		if row[0] == "t" {
			silo.Tables[name] = HasRows
		}
	}
	if silo.Tables[mappingTable] != HasRows {
		return nil
	}
	return s.siloRegions(ctx, silo, readable[mappingTable])
}

// siloRegions lists the regions that organizations are mapped to. The column
// is cell_name in the latest Sentry.
func (s *Source) siloRegions(ctx context.Context, silo *Silo, mapping string) error {
	row, err := s.queryRow(ctx, "find column of "+mapping, fmt.Sprintf(
		`select coalesce(min(attname) filter (where attname = 'cell_name'), min(attname)) from pg_attribute
		 where attrelid = %s::regclass and attname in ('region_name', 'cell_name') and not attisdropped`, textLiteral(mapping)))
	if err != nil || row[0] == "" {
		return err
	}
	results, err := s.query(ctx, "read regions of "+mapping, fmt.Sprintf(
		"select distinct %[1]s from %[2]s where %[1]s is not null order by 1 limit %[3]d", quoteIdentifier(row[0]), mapping, maxRegions))
	if err != nil {
		return err
	}
	for _, row := range results[0] {
		silo.Regions = append(silo.Regions, row[0])
	}
	return nil
}

// judge decides by the evidence. What could not be read is never taken for empty.
func (s Silo) judge() SiloKind {
	control, region := s.strongest(controlTables()), s.strongest(regionTables())
	switch {
	case control == HasRows && region == HasRows:
		return s.judgeWhole()
	case control == Unreadable || region == Unreadable:
		return UnknownSilo
	case control == HasRows:
		return ControlSilo
	case region == HasRows:
		return RegionSilo
	}
	return NodestoreAlone
}

// judgeWhole tells apart what has both halves of Sentry's tables.
func (s Silo) judgeWhole() SiloKind {
	if len(s.Regions) > 1 {
		return SeveralRegions
	}
	if len(s.Siblings) > 0 {
		return SplitLeftover
	}
	return Monolith
}

// strongest is rows before unreadable before nothing.
func (s Silo) strongest(tables []string) Evidence {
	best := Absent
	for _, name := range tables {
		switch evidence := s.Tables[name]; {
		case evidence == HasRows:
			return HasRows
		case evidence == Unreadable:
			best = Unreadable
		}
	}
	return best
}

// monolithRegion is the region's name in a Sentry that was never told one.
const monolithRegion = "--monolith--"

// CheckSilo makes sure that the source is the nodestore of exactly one region,
// and that it can be told from every other (promise 9). region is the name
// that the operator gave, or "". The Silo is returned with an error too, where
// it could be found out.
func (s *Source) CheckSilo(ctx context.Context, region string) (Silo, error) {
	silo, err := s.Silo(ctx)
	if err != nil {
		return Silo{}, err
	}
	return silo, silo.check(s.identity, region)
}

func (s Silo) check(identity Identity, region string) error {
	switch {
	case s.Kind == ControlSilo:
		return s.controlError()
	case s.Kind == SeveralRegions:
		return hint.Add(fmt.Errorf("database %q serves several regions (%s): its nodes cannot be told apart", s.Database, strings.Join(s.Regions, ", ")),
			"a document does not say which region it is from. Give each region a database of its own first; if the names are one renamed region's, make them one in "+mappingTable)
	case s.Kind == Monolith && region != "" && !s.mayBe(region):
		return hint.Add(fmt.Errorf("database %q belongs to region %q, not to %q", s.Database, s.Regions[0], region),
			"check --source and --region: they name two regions")
	case region != "":
		return nil
	case s.Kind == SplitLeftover:
		return hint.Add(fmt.Errorf("database %q was split: beside it are %s, which have the same nodes", s.Database, strings.Join(s.Siblings, " and ")),
			"bin/split-silo-database leaves the old database as it was: name the region's database in --source; if Sentry does still use this one, say so with --region NAME")
	case s.Kind == NodestoreAlone:
		return hint.Add(fmt.Errorf("database %q has no other table of Sentry with rows: which region its nodes are from cannot be seen", s.Database),
			"name the region with --region NAME, and give each region an alias of its own")
	case s.Kind == UnknownSilo:
		return hint.Add(fmt.Errorf("database %q: whether this is a monolith, a region or the control silo cannot be seen: no privilege on %s", s.Database, strings.Join(s.unreadable(), ", ")),
			"grant the role SELECT on these tables, or name the region with --region NAME (a monolith's too)")
	case s.Kind == RegionSilo && identity.System == "":
		return hint.Add(fmt.Errorf("database %q is a region's, and nothing tells it from other regions': the server's system identifier may not be read", s.Database),
			"name the region with --region NAME, or grant: GRANT EXECUTE ON FUNCTION pg_control_system() TO the role")
	}
	return nil
}

func (s Silo) controlError() error {
	return hint.Add(fmt.Errorf("database %q is a control silo, which has no nodestore; a nodestore_node in it was left behind by a split", s.Database),
		"name the database of a region in --source, one region after the other; the regions are: "+or(strings.Join(s.Regions, ", "), "not listed here"))
}

// mayBe reports whether a monolith's own name allows for the region.
func (s Silo) mayBe(region string) bool {
	return len(s.Regions) == 0 || s.Regions[0] == monolithRegion || s.Regions[0] == region
}

func (s Silo) unreadable() (names []string) {
	for name, evidence := range s.Tables {
		if evidence == Unreadable {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
