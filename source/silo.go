package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
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

// siloOf tells what part of Sentry the database holds, by the tables that have
// rows. It reads at most one row of each, and the organization mapping. Tables
// are looked for in a schema, "" for none, and in the search path.
func siloOf(ctx context.Context, s *server, schema string) (Silo, error) {
	silo := Silo{Tables: map[string]Evidence{}}
	readable, err := silo.findTables(ctx, s, schema)
	if err != nil {
		return Silo{}, err
	}
	for name, quoted := range readable {
		var rows bool
		err := s.queryRow(ctx, "look for rows of "+quoted, "select exists (select 1 from "+quoted+")", &rows)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == codeInsufficientPrivilege {
			continue // row security hides an unknown part of it
		}
		if err != nil {
			return Silo{}, err
		}
		silo.Tables[name] = EmptyTable
		if rows {
			silo.Tables[name] = HasRows
		}
	}
	if silo.Tables[mappingTable] == HasRows {
		if err := silo.findRegions(ctx, s, readable[mappingTable]); err != nil {
			return Silo{}, err
		}
	}
	silo.Kind = silo.kind()
	return silo, nil
}

// findTables finds the tables that tell, and returns the quoted names of those
// that may be read.
func (silo *Silo) findTables(ctx context.Context, s *server, schema string) (readable map[string]string, err error) {
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
		 select current_database()`, strings.Join(names, ","), textLiteral(schema)))
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

// findRegions lists the regions that organizations are mapped to. The column
// is cell_name in the latest Sentry.
func (silo *Silo) findRegions(ctx context.Context, s *server, mapping string) error {
	var column string
	err := s.queryRow(ctx, "find column of "+mapping, fmt.Sprintf(
		`select coalesce(min(attname) filter (where attname = 'cell_name'), min(attname)) from pg_attribute
		 where attrelid = %s::regclass and attname in ('region_name', 'cell_name') and not attisdropped`, textLiteral(mapping)), &column)
	if err != nil || column == "" {
		return err
	}
	var region string
	return s.queryEach(ctx, "read regions of "+mapping, fmt.Sprintf(
		"select distinct %[1]s from %[2]s where %[1]s is not null order by 1 limit %[3]d", quoteIdentifier(column), mapping, maxRegions),
		func() error { silo.Regions = append(silo.Regions, region); return nil }, &region)
}

// kind decides by the evidence. What could not be read is never taken for empty.
func (silo *Silo) kind() SiloKind {
	control, region := silo.strongest(controlTables()), silo.strongest(regionTables())
	switch {
	case control == HasRows && region == HasRows && len(silo.Regions) > 1:
		return SeveralRegions
	case control == HasRows && region == HasRows && len(silo.Siblings) > 0:
		return SplitLeftover
	case control == HasRows && region == HasRows:
		return Monolith
	case control == Unreadable || region == Unreadable:
		return UnknownSilo
	case control == HasRows:
		return ControlSilo
	case region == HasRows:
		return RegionSilo
	}
	return NodestoreAlone
}

// strongest is rows before unreadable before nothing.
func (silo *Silo) strongest(tables []string) Evidence {
	best := Absent
	for _, name := range tables {
		switch evidence := silo.Tables[name]; {
		case evidence == HasRows:
			return HasRows
		case evidence == Unreadable:
			best = Unreadable
		}
	}
	return best
}

// Unreadable are the names of the tables that tell and may not be read.
func (silo *Silo) Unreadable() (names []string) {
	for name, evidence := range silo.Tables {
		if evidence == Unreadable {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// monolithRegion is the region's name in a Sentry that was never told one.
const monolithRegion = "--monolith--"

// SiloError says that a source is not the nodestore of exactly one region, or
// that it cannot be told from every other.
type SiloError struct {
	Silo   Silo
	Region string // as the operator named it; "" if nobody did
}

func (e *SiloError) Error() string {
	database, silo := fmt.Sprintf("database %q ", e.Silo.Database), e.Silo
	switch silo.Kind {
	case ControlSilo:
		return database + "is a control silo, which has no nodestore; a nodestore_node in it was left behind by a split"
	case SeveralRegions:
		return database + fmt.Sprintf("serves several regions (%s): its nodes cannot be told apart", strings.Join(silo.Regions, ", "))
	case Monolith:
		return database + fmt.Sprintf("belongs to region %q, not to %q", silo.Regions[0], e.Region)
	case SplitLeftover:
		return database + fmt.Sprintf("was split: beside it are %s, which have the same nodes", strings.Join(silo.Siblings, " and "))
	case NodestoreAlone:
		return database + "has no other table of Sentry with rows: which region its nodes are from cannot be seen"
	case RegionSilo:
		return database + "is a region's, and nothing tells it from other regions': the server's system identifier may not be read"
	}
	return strings.TrimSpace(database) + ": whether this is a monolith, a region or the control silo cannot be seen: no privilege on " + strings.Join(silo.Unreadable(), ", ")
}

// check gives a *SiloError unless the silo is one region's. identified says that
// the server tells its system identifier.
func (silo *Silo) check(identified bool, region string) error {
	switch silo.Kind {
	case ControlSilo, SeveralRegions:
	case Monolith: // its own name may allow for the region
		if region == "" || len(silo.Regions) == 0 || silo.Regions[0] == monolithRegion || silo.Regions[0] == region {
			return nil
		}
	case RegionSilo:
		if identified || region != "" {
			return nil
		}
	default:
		if region != "" {
			return nil
		}
	}
	return &SiloError{*silo, region}
}
