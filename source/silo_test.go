package source

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// The tables of Sentry's silos by their real names, cut down to the columns
// that the tool looks at.
const (
	controlSchema = `create table auth_user (id serial primary key, username text);
		create table sentry_organizationmapping (id serial primary key, organization_id bigint unique, slug varchar(50), region_name varchar(48) not null);
		create table sentry_controloutbox (id bigserial primary key, shard_identifier bigint, region_name varchar(48));`
	regionSchema = `create table sentry_organization (id bigserial primary key, slug varchar(50));
		create table sentry_project (id bigserial primary key, organization_id bigint);
		create table sentry_groupedmessage (id bigserial primary key, project_id bigint);`

	users    = `insert into auth_user (username) values ('admin');`
	mappedTo = `insert into sentry_organizationmapping (organization_id, slug, region_name) values `
	projects = `insert into sentry_organization (slug) values ('acme'); insert into sentry_project (organization_id) values (1);`
	oneNode  = `insert into nodestore_node values ('a', 'MDA=', '2024-01-01');`
)

type siloCase struct {
	name   string
	schema string
	region string // as the operator names it
	kind   SiloKind
	error  string // part of the error, "" for none
}

func siloCases() []siloCase {
	both := plain + controlSchema + regionSchema
	monolith := both + users + projects + oneNode
	return []siloCase{
		{name: "monolith", schema: monolith + mappedTo + `(1, 'acme', '--monolith--');`, kind: Monolith},
		{name: "monolith before organizations were mapped", schema: monolith, kind: Monolith},
		{name: "monolith, region named", schema: monolith + mappedTo + `(1, 'acme', '--monolith--');`, region: "de", kind: Monolith},
		{
			name: "monolith of another region", schema: monolith + mappedTo + `(1, 'acme', 'us');`, region: "de",
			kind: Monolith, error: `belongs to region "us", not to "de"`,
		},
		{name: "region", schema: plain + regionSchema + projects + oneNode, kind: RegionSilo},
		{name: "region with the empty tables of a split", schema: both + projects + oneNode, kind: RegionSilo},
		{
			name: "region that only has groups yet", schema: plain + regionSchema + `insert into sentry_groupedmessage (project_id) values (1);`,
			region: "de", kind: RegionSilo,
		},
		{
			name: "control silo with the old table", schema: plain + controlSchema + users + oneNode + mappedTo + `(1, 'acme', 'us'), (2, 'beta', 'de');`,
			region: "us", kind: ControlSilo, error: "is a control silo",
		},
		{
			name: "control silo with the empty tables of a split", schema: both + users, kind: ControlSilo,
			error: "is a control silo",
		},
		{
			name: "several regions", schema: monolith + mappedTo + `(1, 'acme', 'us'), (2, 'beta', 'de'), (3, 'gamma', 'us');`,
			region: "us", kind: SeveralRegions, error: "several regions (de, us)",
		},
		{
			name: "several cells", schema: monolith + `alter table sentry_organizationmapping rename region_name to cell_name;
				insert into sentry_organizationmapping (organization_id, cell_name) values (1, 'us1'), (2, 'us2');`,
			kind: SeveralRegions, error: "several regions (us1, us2)",
		},
		{name: "nodestore alone", schema: plain + oneNode, kind: NodestoreAlone, error: "no other table of Sentry"},
		{name: "nodestore alone, region named", schema: plain + oneNode, region: "de", kind: NodestoreAlone},
		{name: "nodestore among empty tables", schema: both, kind: NodestoreAlone, error: "no other table of Sentry"},
	}
}

func TestSilos(t *testing.T) {
	t.Parallel()
	for _, c := range siloCases() {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(c.schema)
				c.check(t, db.open("nodestore_node"))
			})
		})
	}
}

func (c siloCase) check(t *testing.T, s *Source) {
	t.Helper()
	silo, err := s.CheckSilo(t.Context(), c.region)
	if silo.Kind != c.kind {
		t.Errorf("kind %q, want %q: %+v", silo.Kind, c.kind, silo)
	}
	if c.error == "" {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	refused, ok := errors.AsType[*SiloError](err)
	if !ok || !strings.Contains(err.Error(), c.error) || refused.Silo.Kind != c.kind || refused.Region != c.region {
		t.Errorf("error %v, want %s", err, c.error)
	}
}

// Tables in a schema that only Config.Table names are found beside the relation.
func TestSiloOfAnotherSchema(t *testing.T) {
	db := newest(t)
	db.exec(`create schema sentry; set search_path = sentry;` + plain + controlSchema + regionSchema + users + projects)
	s := db.open("sentry.nodestore_node")
	siloCase{kind: Monolith}.check(t, s)
}

// What may not be read is never taken for empty, unless other tables tell enough.
func TestSiloThatMayNotBeRead(t *testing.T) {
	db := newest(t)
	db.exec(plain + controlSchema + regionSchema + users + projects)
	limited := db
	limited.url = db.roleURL("reader")
	grant := func(table string) { db.exec("grant select on " + table + " to " + roleOf(t, limited.url)) }
	grant("nodestore_node")

	t.Run("nothing", func(t *testing.T) {
		limited.t = t
		s := limited.open("nodestore_node")
		siloCase{kind: UnknownSilo, error: "no privilege on auth_user, sentry_controloutbox"}.check(t, s)
		siloCase{kind: UnknownSilo, region: "de"}.check(t, s)
	})
	grant("sentry_organization")
	t.Run("region only", func(t *testing.T) {
		limited.t = t
		siloCase{kind: UnknownSilo, error: "no privilege on auth_user, sentry_controloutbox"}.check(t, limited.open("nodestore_node"))
	})
	grant("auth_user")
	t.Run("one of each", func(t *testing.T) {
		limited.t = t
		siloCase{kind: Monolith}.check(t, limited.open("nodestore_node"))
	})
}

// Where the system identifier is hidden, as on some managed servers, a region
// is told from others by its name only.
func TestRegionWithoutSystemIdentifier(t *testing.T) {
	silo := Silo{Kind: RegionSilo, Database: "sentry"}
	if err := silo.check(false, ""); err == nil || !strings.Contains(err.Error(), "may not be read") {
		t.Errorf("without a name: %v", err)
	}
	if err := silo.check(false, "de"); err != nil {
		t.Errorf("with a name: %v", err)
	}
}

// bin/split-silo-database makes the databases control and region beside the
// old one. A server of its own: these names are the server's.
func TestSplitMonolith(t *testing.T) {
	t.Parallel()
	primary := testservers.OwnPostgres(t, testbed.PostgresOptions{})
	admin := connectTo(t, primary.URL())
	admin.exec("create database sentry")
	old := connectTo(t, inDatabase(t, primary.URL(), "sentry"))
	monolith := plain + controlSchema + regionSchema + users + projects + oneNode + mappedTo + `(1, 'acme', 'us');`
	old.exec(monolith)
	siloCase{kind: Monolith}.check(t, old.open("nodestore_node"))

	admin.exec("create database control")
	admin.exec("create database region")
	control, region := connectTo(t, inDatabase(t, primary.URL(), "control")), connectTo(t, inDatabase(t, primary.URL(), "region"))
	control.exec(controlSchema + users + mappedTo + `(1, 'acme', 'us');`)
	region.exec(plain + regionSchema + projects + oneNode)

	s := old.open("nodestore_node")
	siloCase{kind: SplitLeftover, error: "beside it are control and region, which have the same nodes"}.check(t, s)
	siloCase{kind: SplitLeftover, region: "us"}.check(t, s)
	siloCase{kind: RegionSilo}.check(t, region.open("nodestore_node"))

	_, err := Open(t.Context(), Config{ConnString: control.url, Table: "nodestore_node"})
	if refused, ok := errors.AsType[*SiloError](err); !ok || refused.Silo.Kind != ControlSilo || !slices.Equal(refused.Silo.Regions, []string{"us"}) {
		t.Errorf("control silo: %v", err)
	}
}

// connectTo connects to a database that is not the test's own.
func connectTo(t *testing.T, address string) database {
	t.Helper()
	conn, err := connectPlain(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return database{t: t, url: address, conn: conn}
}

func inDatabase(t *testing.T, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
