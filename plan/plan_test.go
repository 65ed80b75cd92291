package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	reached "github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

func TestGo(t *testing.T) {
	t.Parallel()
	for _, version := range testservers.OpenSearchVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			checkGo(t, worldOn(t, newestDatabase(t), testservers.OpenSearch(t, version)))
		})
	}
}

func checkGo(t *testing.T, w *world) {
	t.Helper()
	w.config.BytesPerSecond = 1e6
	made := w.plan()
	if !made.Go || len(made.Reasons(NoGo)) != 0 {
		t.Fatalf("no-go: %+v", made.Reasons(NoGo))
	}
	if len(made.Days) != 3 || made.Days[0].Day != "2024-03-01" || made.Days[0].Fate != DayCopy || made.Days[0].Rows < 1 || made.Days[0].Exists {
		t.Errorf("days %+v", made.Days)
	}
	if made.Silo == nil || made.Silo.Kind != source.Monolith {
		t.Errorf("silo %+v", made.Silo)
	}
	if c := made.Census; c == nil || c.Nodes == 0 || c.Median != 16 || len(c.Rejected) != 0 {
		t.Errorf("census %+v", c)
	}
	if c := made.Cost; c == nil || c.NewIndices != 3 || c.NewShards != 3 || c.FactorFrom != "assumed" || c.Seconds <= 0 || len(c.Nodes) != 1 {
		t.Errorf("cost %+v", c)
	}
	if c := find(t, made, Source, "newest_row"); c.State != Warning || !strings.Contains(c.Detail, "2024-03-03T22:00:00.000000+00:00") {
		t.Errorf("newest row %+v", c)
	}
	if r := made.Relation; r == nil || r.HeapBytes == 0 || r.First != "2024-03-01T00:00:00.000000+00:00" || r.Standby || r.Pooled {
		t.Errorf("relation %+v", r)
	}
	if _, err := json.Marshal(made); err != nil {
		t.Error(err)
	}
}

func TestRetentionSinceAndUntil(t *testing.T) {
	w := newWorld(t)
	w.config.Retention = 30
	made := w.plan()
	for _, d := range made.Days {
		if d.Fate != DayOld {
			t.Errorf("%+v is not out of retention", d)
		}
	}
	if made.Cost.SourceBytes != 0 || made.Cost.NewIndices != 0 {
		t.Errorf("cost %+v", made.Cost)
	}
	w.config.Retention = 0
	w.config.Since, w.config.Until = made.Days[1].planned, made.Days[2].planned
	if made = w.plan(); len(made.Days) != 1 || made.Days[0].Day != "2024-03-02" {
		t.Errorf("days %+v", made.Days)
	}
}

// What partitioning scripts in the field leave: daily partitions of bytea with
// BRIN alone, and a view over them that nobody has analysed.
func TestDailyPartitionsWithoutABTreeAreGo(t *testing.T) {
	w := newWorld(t)
	w.exec(`alter table nodestore_node rename to old;
		create table parts (id varchar(40) not null, data bytea not null, "timestamp" timestamptz not null) partition by range ("timestamp");
		create index on parts using brin ("timestamp");
		create table parts_1 partition of parts for values from ('2024-03-01 00:00+00') to ('2024-03-02 00:00+00');
		create table parts_2 partition of parts for values from ('2024-03-02 00:00+00') to ('2024-03-03 00:00+00');
		create table parts_3 partition of parts for values from ('2024-03-03 00:00+00') to ('2024-03-04 00:00+00');
		create table parts_4 partition of parts for values from ('2024-03-04 00:00+00') to ('2024-03-05 00:00+00');
		insert into parts select id, decode(data, 'base64'), "timestamp" from old;
		create view nodestore_node as select id, encode(data, 'base64') as data, "timestamp" from parts`)
	made := w.plan()
	if !made.Go || len(made.Days) != 3 {
		t.Errorf("%d days, refused by %+v", len(made.Days), made.Reasons(NoGo))
	}
	if c := find(t, made, Source, "timestamp_index"); c.State != OK || !strings.Contains(c.Detail, "few of the 4 partitions") {
		t.Errorf("%+v", c)
	}
	if c := find(t, made, Source, "id_index"); c.State != Warning {
		t.Errorf("%+v", c)
	}
	if c := find(t, made, Source, "statistics"); !strings.HasPrefix(c.Remedy, `run: ANALYZE "public"."parts_1"; `) || !strings.HasSuffix(c.Remedy, "1 more") {
		t.Errorf("%+v", c)
	}
}

// refusal is a state of the servers that keeps a migration from being started,
// and the one check that says so.
type refusal struct {
	name   string
	sql    string        // brings the source there
	state  func(*world)  // brings the target or the configuration there
	change func(*Config) // what the operator gets wrong
	side   Side
	check  string
	detail string
	remedy string // or the mistake that it names
}

func (r refusal) bring(w *world) {
	w.t.Helper()
	if r.sql != "" {
		w.exec(r.sql)
	}
	if r.state != nil {
		r.state(w)
	}
	if r.change != nil {
		r.change(&w.config)
	}
}

func (r refusal) verify(w *world) {
	w.t.Helper()
	made := w.plan()
	refused := made.Reasons(NoGo)
	if made.Go || len(refused) != 1 {
		w.t.Fatalf("go %v, refused by %+v", made.Go, refused)
	}
	c := refused[0]
	mends := c.Remedy
	if mistaken, ok := errors.AsType[*reached.MistakeError](c.Err); ok {
		mends = string(mistaken.Mistake)
	}
	if c.Side != r.side || c.Name != r.check || !strings.Contains(c.Detail, r.detail) || !strings.Contains(mends, r.remedy) {
		w.t.Errorf("refused by %+v", c)
	}
}

func openRefusals() []refusal {
	database := func(name string) func(*Config) {
		return func(c *Config) { c.Source.ConnString = strings.Replace(c.Source.ConnString, "/test_", "/"+name+"_", 1) }
	}
	return []refusal{
		{
			name: "unreachable source", change: func(c *Config) { c.Source.ConnString = "postgres://postgres@127.0.0.1:1/sentry?sslmode=disable" },
			side: Source, check: "open", detail: "connection refused", remedy: "check host and port",
		},
		{name: "no such database", change: database("nowhere"), side: Source, check: "open", detail: "does not exist", remedy: "usually called postgres or sentry"},
		{
			name: "no such table", change: func(c *Config) { c.Source.Table = "nodestore" },
			side: Source, check: "open", detail: "no table nodestore",
		},
		{
			name: "missing column", sql: `alter table nodestore_node rename data to payload`,
			side: Source, check: "open", detail: "no column data",
		},
		{
			name: "unusable type", sql: `alter table nodestore_node alter "timestamp" type text`,
			side: Source, check: "open", detail: "want timestamp with time zone",
		},
		{
			name: "row security", sql: `alter table nodestore_node enable row level security; alter table nodestore_node force row level security`,
			state: func(w *world) { w.asRole("all tables in schema public") },
			side:  Source, check: "open", detail: "row-level security", remedy: "BYPASSRLS",
		},
	}
}

func sourceRefusals() []refusal {
	return []refusal{
		{
			name: "control silo", sql: `delete from sentry_organization`,
			side: Source, check: "silo", detail: "is a control silo",
		},
		{
			name: "control silo without the table", sql: `delete from sentry_organization; drop table nodestore_node`,
			side: Source, check: "open", detail: "is a control silo",
		},
		{
			name: "several regions",
			sql: `create table sentry_organizationmapping (organization_id bigint, region_name varchar(48));
				insert into sentry_organizationmapping values (1, 'us'), (2, 'de')`,
			side: Source, check: "silo", detail: "serves several regions (de, us)",
		},
		{
			name: "nodestore alone", sql: `drop table auth_user, sentry_organization`,
			side: Source, check: "silo", detail: "no other table of Sentry",
		},
		{
			name: "silo that may not be seen", state: func(w *world) { w.asRole("nodestore_node") },
			side: Source, check: "silo", detail: "no privilege on auth_user, sentry_organization",
		},
		{
			name: "another region", sql: `create table sentry_organizationmapping (organization_id bigint, region_name varchar(48));
				insert into sentry_organizationmapping values (1, 'us')`,
			change: func(c *Config) { c.Region = "de" },
			side:   Source, check: "silo", detail: `belongs to region "us"`,
		},
		{
			name:   "a view that cannot be read",
			sql:    `create view broken as select * from nodestore_node where 1 / (case when "timestamp" < '2024-03-02' then 0 else 1 end) > 0`,
			change: func(c *Config) { c.Source.Table = "broken" },
			side:   Source, check: "days", detail: "division by zero",
		},
		{
			name: "no index on timestamp", sql: `drop index nodestore_node_timestamp_idx`,
			side: Source, check: "timestamp_index", detail: "no index begins with timestamp", remedy: `CREATE INDEX CONCURRENTLY ON "public"."nodestore_node" ("timestamp")`,
		},
		{
			name: "a view that hides the index", sql: `create view barrier with (security_barrier) as select * from nodestore_node`,
			change: func(c *Config) { c.Source.Table = "barrier" },
			side:   Source, check: "timestamp_index", detail: "security barrier", remedy: "a table beneath it",
		},
		{
			name: "no index on timestamp beneath a view", sql: `drop index nodestore_node_timestamp_idx; create view seen as select * from nodestore_node`,
			change: func(c *Config) { c.Source.Table = "seen" },
			side:   Source, check: "timestamp_index", detail: "no index begins with timestamp", remedy: `CREATE INDEX CONCURRENTLY ON "public"."nodestore_node" ("timestamp")`,
		},
	}
}

// template makes an index template with these fields.
func template(fields string) func(*world) {
	return func(w *world) {
		w.must(http.MethodPut, "/_index_template/"+w.config.Target.Backend.Template,
			`{"index_patterns":["{pattern}"],"template":{"aliases":{"{alias}":{}},"mappings":{"properties":{`+fields+`}}}}`)
	}
}

// good are the fields that Sentry's reader needs.
const good = `"data":{"type":"keyword","index":false,"store":true,"doc_values":false},"timestamp":{"type":"date"}`

// index makes a daily index behind the alias.
func index(body string) func(*world) {
	return func(w *world) {
		template(good)(w)
		w.must(http.MethodPut, "/{index}", body)
	}
}

func contractRefusals() []refusal {
	return []refusal{
		{
			name: "unreachable target", change: func(c *Config) { c.Target.URLs = []string{"http://127.0.0.1:2"} },
			side: Target, check: "open", detail: "connection refused", remedy: string(reached.NoAnswer),
		},
		{
			name: "not an OpenSearch", state: func(w *world) {
				w.behind(func(*http.Request, int) faulty.Fault {
					return faulty.Fault{Status: http.StatusOK, Body: `{"version":{"number":"8.11.0"},"tagline":"You Know, for Search"}`}
				})
			},
			side: Target, check: "open", detail: ", not OpenSearch", remedy: string(reached.NotOpenSearch),
		},
		{
			name: "unknown codec", change: func(c *Config) { c.Target.Backend.Codec = "zstd" },
			side: Target, check: "contract", detail: "index.codec", remedy: "lacks that codec",
		},
		{
			name: "doc values", state: template(`"data":{"type":"keyword","index":false,"store":true},"timestamp":{"type":"date"}`),
			side: Target, check: "contract", detail: "doc_values=true", remedy: "cannot be changed in place",
		},
		{
			name: "not stored", state: template(`"data":{"type":"keyword","index":false,"doc_values":false},"timestamp":{"type":"date"}`),
			side: Target, check: "contract", detail: "store=false", remedy: "cannot be changed in place",
		},
		{
			name: "template of another alias", state: template(good), change: func(c *Config) { c.Target.Backend.Alias += "-other" },
			side: Target, check: "contract", detail: "would not be behind alias", remedy: string(target.NotBehind),
		},
		{
			name: "overlapping templates", state: func(w *world) {
				w.must(http.MethodPut, "/_index_template/"+w.config.Target.Backend.Template+"-other", `{"index_patterns":["{alias}*"]}`)
			},
			side: Target, check: "contract", detail: "same priority", remedy: "higher priority",
		},
	}
}

func indexRefusals() []refusal {
	return []refusal{
		{
			name: "alias is an index", state: func(w *world) { w.must(http.MethodPut, "/{alias}", "") },
			side: Target, check: "indices", detail: "is an index, not an alias", remedy: "_reindex",
		},
		{
			name: "daily index with a bad mapping", state: func(w *world) {
				w.must(http.MethodPut, "/{index}", `{"aliases":{"{alias}":{}},"mappings":{"properties":{"data":{"type":"keyword"},"timestamp":{"type":"date"}}}}`)
			},
			side: Target, check: "index", detail: "store=false", remedy: "reindex or remove",
		},
		{
			name: "daily index outside the alias", state: func(w *world) {
				index("")(w)
				w.must(http.MethodPost, "/_aliases", `{"actions":[{"remove":{"index":"{index}","alias":"{alias}"}}]}`)
			},
			side: Target, check: "index", detail: "is not behind alias", remedy: "add it to the alias",
		},
		{
			name: "daily index whose alias has a filter", state: func(w *world) {
				index("")(w)
				w.must(http.MethodPost, "/_aliases", `{"actions":[{"add":{"index":"{index}","alias":"{alias}","filter":{"term":{"_id":"x"}}}}]}`)
			},
			side: Target, check: "index", detail: "has a filter", remedy: "neither a filter",
		},
		{
			name: "daily index with a pipeline", state: index(`{"settings":{"index.default_pipeline":"drops"}}`),
			side: Target, check: "index", detail: "index.default_pipeline=drops", remedy: "_none",
		},
		{
			name: "index block", state: index(`{"settings":{"index.blocks.read_only_allow_delete":true}}`),
			side: Target, check: "index_block", detail: "index.blocks.read_only_allow_delete", remedy: "make room",
		},
		{
			name: "answers before the disk has it", state: index(`{"settings":{"index.translog.durability":"async"}}`),
			side: Target, check: "durability", detail: "may be lost", remedy: "set it to request",
		},
		{
			name: "alias of another source", state: index(`{"mappings":{"_meta":{"nodestore_migrate":{"system":"1","database":"sentry","table":"public.nodestore_node","region":"us"}}}}`),
			side: Target, check: "origin", detail: "was filled from region us", remedy: string(target.OtherOrigin),
		},
	}
}

func checkpointRefusals() []refusal {
	write := func(document string) func(*world) {
		return func(w *world) {
			if err := os.WriteFile(w.file, []byte(document), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return []refusal{
		{
			name: "damaged checkpoint", state: write(`{"format":1,"days":`),
			side: Checkpoint, check: "checkpoint", detail: "damaged", remedy: "from a copy",
		},
		{
			name: "checkpoint of a newer version", state: write(`{"format":99,"tool":"v9"}`),
			side: Checkpoint, check: "checkpoint", detail: "written by version", remedy: "version that wrote it",
		},
		{
			name:  "checkpoint of another source",
			state: write(`{"format":1,"binding":{"source":{"database":"other","table":"public.nodestore_node"},"target":{}},"days":{},"borrowed":{}}`),
			side:  Checkpoint, check: "binding", detail: `bound to source database "other"`,
		},
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, refusals := range [][]refusal{openRefusals(), sourceRefusals(), contractRefusals(), indexRefusals(), checkpointRefusals()} {
		for _, r := range refusals {
			t.Run(r.name, func(t *testing.T) {
				w := newWorld(t)
				r.bring(w)
				r.verify(w)
			})
		}
	}
}

// A region that was named in the first run only is known from the checkpoint,
// to a plan as to migrate.
func TestRegionFromTheCheckpoint(t *testing.T) {
	w := newWorld(t)
	database, backend := w.conn.Config().Database, w.config.Target.Backend
	index(fmt.Sprintf(`{"mappings":{"_meta":{"nodestore_migrate":{"database":%q,"table":"public.nodestore_node","region":"us"}}}}`, database))(w)
	refusal{side: Target, check: "origin", detail: "was filled from region us", remedy: string(target.OtherOrigin)}.verify(w)

	opened, err := target.Open(t.Context(), w.config.Target)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	document := fmt.Sprintf(`{"format":1,"days":{},"borrowed":{},"binding":{"source":{"database":%q,"table":"public.nodestore_node","region":"us"},
		"target":{"cluster":%q,"alias":%q,"index":%q}}}`, database, opened.Identity().ClusterUUID, backend.Alias, backend.Index)
	if err := os.WriteFile(w.file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	if made := w.plan(); !made.Go {
		t.Errorf("refused by %+v", made.Reasons(NoGo))
	}
}

// Both sides are looked at, whatever is wrong with one of them.
func TestBothSidesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.config.Source.Table = "nodestore"
	w.config.Target.Backend.Codec = "zstd"
	if refused := w.plan().Reasons(NoGo); len(refused) != 2 {
		t.Errorf("refused by %+v", refused)
	}
}

// A user who may not look at the cluster gets a plan all the same, which says
// what it does not know.
func TestForbiddenAPIsDegradeOpenly(t *testing.T) {
	w := newWorld(t)
	w.behind(func(r *http.Request, _ int) faulty.Fault {
		for _, prefix := range []string{"/_cluster/", "/_cat/", "/_plugins/", "/_index_template/"} {
			if strings.HasPrefix(r.URL.Path, prefix) {
				return faulty.Fault{Status: http.StatusForbidden, Body: `{"error":{"type":"security_exception","reason":"no permissions"},"status":403}`}
			}
		}
		return faulty.Fault{}
	})
	made := w.plan()
	if !made.Go {
		t.Errorf("refused by %+v", made.Reasons(NoGo))
	}
	for _, name := range []string{"health", "limits", "disks", "contract", "privileges", "scratch_indices"} {
		if c := find(t, made, Target, name); c.State != Unknown || !strings.Contains(c.Detail, "403") {
			t.Errorf("%+v", c)
		}
	}
}

func TestInterruptedPlan(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Make(ctx, w.config); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
