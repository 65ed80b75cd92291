package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/inspect"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	loose, tight, hour, second := 0.1, -0.99, time.Hour, time.Second
	healthy := source.Condition{Correlation: &tight, OldestTransaction: &second}
	with := func(change func(*source.Condition)) source.Condition {
		c := healthy
		change(&c)
		return c
	}
	standby := func(s source.Standby) source.Condition {
		return with(func(c *source.Condition) { c.Standby = &s })
	}
	cases := []struct {
		check     string
		condition source.Condition
		state     State
		detail    string
	}{
		{"correlation", healthy, OK, "-0.99"},
		{"correlation", with(func(c *source.Condition) { c.Correlation = &loose }), Warning, "scattered"},
		{"correlation", with(func(c *source.Condition) { c.Correlation = nil }), Unknown, "no statistics"},
		{"transactions", healthy, OK, "1s"},
		{"transactions", with(func(c *source.Condition) { c.OldestTransaction = &hour }), Warning, "1h0m0s"},
		{"transactions", with(func(c *source.Condition) { c.OldestTransaction = nil }), Unknown, "hidden"},
		{"connection", with(func(c *source.Condition) { c.Pooled = true }), OK, "through a pooler"},
		{"standby", healthy, OK, "a primary"},
		{"standby", standby(source.Standby{Feedback: true}), OK, "a standby, 0s behind"},
		{"standby", standby(source.Standby{Unlimited: true}), OK, "a standby"},
		{"standby", standby(source.Standby{MaxDelay: 30 * time.Second}), Warning, "cancels reads after 30s"},
		{"standby", standby(source.Standby{Feedback: true, Lag: time.Hour}), Warning, "1h0m0s behind"},
	}
	for _, c := range cases {
		m := &sourceSide{&run{plan: Plan{Relation: &Relation{Name: "public.nodestore_node"}}}}
		m.checkStatistics(c.condition)
		m.checkSession(c.condition)
		m.checkStandby(c.condition)
		m.checkTransactions(c.condition)
		if got := find(t, m.plan, Source, c.check); got.State != c.state || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("want %s, %q; got %+v", c.state, c.detail, got)
		}
	}
}

// TestNewestRow: a table that Sentry does not write to any more is one it has left, unless
// it has been switched over.
func TestNewestRow(t *testing.T) {
	t.Parallel()
	switched := &checkpoint.State{}
	switched.CatchUp.SwitchedAt = 1
	for _, c := range []struct {
		age    time.Duration
		state  *checkpoint.State
		want   State
		detail string
	}{
		{47 * time.Hour, nil, OK, "written "},
		{49 * time.Hour, nil, Warning, "the newest row was written 2 days ago, LAST: Sentry may store nodes elsewhere (S3) already"},
		{49 * time.Hour, &checkpoint.State{}, Warning, "2 days ago"},
		{49 * time.Hour, switched, OK, "written "},
	} {
		m := &sourceSide{&run{plan: Plan{Relation: &Relation{Last: "LAST"}}, state: c.state}}
		m.checkNewest(c.age)
		if got := find(t, m.plan, Source, "newest_row"); got.State != c.want || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: want %s, %q; got %+v", c.age, c.want, c.detail, got)
		}
	}
}

// forecastOf makes a forecast of ten days of 10 GB for a cluster.
func forecastOf(t *testing.T, change func(*forecast)) *forecast {
	t.Helper()
	mark, err := inspect.ParseWatermark("85%")
	if err != nil {
		t.Fatal(err)
	}
	m := &forecast{&run{config: Config{BytesPerSecond: 50e6}}, &targetSide{
		preview: &target.Preview{Codec: "best_compression", Shards: 3, Replicas: 1},
		health:  &inspect.Health{DataNodes: 2, ActiveShards: 10},
		limits:  &inspect.Limits{ShardsPerNode: 1000, Low: mark, Flood: mark, Enforced: true},
		disks:   []inspect.Disk{{Node: "a", Total: 1000e9, Available: 500e9}, {Node: "b", Total: 1000e9, Available: 500e9}},
	}}
	for i := range node.Day(10) {
		m.plan.Days = append(m.plan.Days, Day{Day: (i + 20000).String(), Rows: 1e6, Bytes: 10e9, Fate: DayCopy, planned: i + 20000})
	}
	change(m)
	m.reckon()
	return m
}

func TestForecast(t *testing.T) {
	t.Parallel()
	m := forecastOf(t, func(*forecast) {})
	c := m.plan.Cost
	// 100 GB, 1.05 each, 2 copies; the merge of a shard of 3.5 GB beside it.
	if c.SourceBytes != 100e9 || c.PrimaryBytes != 105e9 || c.TotalBytes != 210e9 || c.CompactBytes != 154e9 || c.MergeBytes != 3.5e9 || c.NewShards != 60 || c.Seconds != 2000 {
		t.Errorf("%+v", c)
	}
	if len(c.Nodes) != 2 || c.Nodes[0].Needed != 108.5e9 || c.Nodes[0].Usable != 330e9 {
		t.Errorf("%+v", c.Nodes)
	}
	if refused := m.plan.Reasons(NoGo); len(refused) != 0 {
		t.Errorf("refused by %+v", refused)
	}
}

func TestForecastChecks(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		change func(*forecast)
		check  string
		state  State
		detail string
	}{
		{"one node is full", func(m *forecast) { m.to.disks[1].Available = 180e9 }, "disk", Warning, "b has 10.00 GB until close to the low watermark of 85%"},
		{"both are full", func(m *forecast) { m.to.disks[0].Available, m.to.disks[1].Available = 180e9, 175e9 }, "disk", NoGo, "a has 10.00 GB, b has 5.00 GB"},
		{"a copy would wait", func(m *forecast) { m.to.disks[1].Available = 160e9 }, "disk", NoGo, "a copy would wait for room: b's disk is at 84 %"},
		{"watermarks are off", func(m *forecast) { m.to.limits.Enforced = false; m.to.disks[1].Available = 160e9 }, "disk", OK, "watermarks are off"},
		{"disks are hidden", func(m *forecast) { m.to.disks = nil }, "disk", Unknown, "210.00 GB"},
		{"shards are hidden", func(m *forecast) { m.to.health = nil }, "shards", Unknown, "60 new shards"},
		{"too many shards", func(m *forecast) { m.to.limits.ShardsPerNode = 34 }, "shards", NoGo, "10 are there, 60 come"},
		{"just enough shards", func(m *forecast) { m.to.limits.ShardsPerNode = 35 }, "shards", OK, "70 are allowed"},
		{"no speed", func(m *forecast) { m.config.BytesPerSecond = 0 }, "duration", Unknown, "how fast is not known"},
		{"speed of a probe", func(m *forecast) { m.plan.Probe = &ProbeRun{Bytes: 100e6, Seconds: 1, StoreBytes: 80e6} }, "duration", OK, "16m41s"},
	}
	for _, c := range cases {
		got := find(t, forecastOf(t, c.change).plan, Forecast, c.check)
		if got.State != c.state || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// What is done is not forecast again, and days that were sealed tell what a
// byte takes on disk.
func TestForecastOfTheRest(t *testing.T) {
	t.Parallel()
	m := forecastOf(t, func(m *forecast) {
		sealed, begun := &checkpoint.Day{Bytes: 10e9, Sealed: time.Now()}, &checkpoint.Day{Bytes: 4e9}
		sealed.Fates[node.Stored] = 7
		m.state = &checkpoint.State{Days: map[string]*checkpoint.Day{m.plan.Days[0].Day: sealed, m.plan.Days[1].Day: begun}}
		m.plan.Days[0].Fate, m.plan.Days[0].Exists, m.plan.Days[1].Exists = DayDone, true, true
		m.to.existing = []target.Holding{{Index: target.Index{Day: m.plan.Days[0].planned, Origin: &target.Origin{}}, Docs: 7, Bytes: 8e9}}
		m.plan.Days[9].Fate = DayOld
	})
	c := m.plan.Cost
	if c.SourceBytes != 76e9 || c.NewIndices != 7 || c.Factor != 0.8 || c.FactorFrom != "sealed_days" {
		t.Errorf("%+v", c)
	}
}

func TestInstantsFollowTheRows(t *testing.T) {
	t.Parallel()
	m := &census{&run{now: node.Day(20001).Start() + 3600e6}}
	m.plan.Days = []Day{{planned: 20000, Rows: 300}, {planned: 20001, Rows: 100}}
	spans := m.instants()
	first := 0
	for _, s := range spans {
		if node.DayOf(s.From) == 20000 {
			first++
		}
		if s.From >= m.now || s.To != node.DayOf(s.From).End() {
			t.Errorf("%+v", s)
		}
	}
	if len(spans) != censusInstants || first != 30 {
		t.Errorf("%d instants, %d on the first day", len(spans), first)
	}
}

// Every shape of the table gets a plan.
func TestShapes(t *testing.T) {
	t.Parallel()
	const rest = `drop table nodestore_node;
		create table store (id varchar(40) not null, data bytea not null, "timestamp" timestamptz not null) partition by range ("timestamp");
		create index on store ("timestamp");
		create table store_all partition of store default;
		insert into store select md5(i::text), decode('eJyrrgUAAXUA+Q==', 'base64'), timestamptz '2024-03-01' + i * interval '1 hour' from generate_series(0, 99) i;`
	shapes := map[string]string{
		"view over partitions":        rest + `create view nodestore_node as select id, encode(data, 'base64') as data, "timestamp" from store; analyze`,
		"partitioned table of bytea":  rest + `alter table store rename to nodestore_node; analyze`,
		"table that was not analysed": `truncate nodestore_node; drop table nodestore_node; create table nodestore_node as select 'a' as id, 'eJyrrgUAAXUA+Q==' as data, timestamptz '2024-03-01' as "timestamp"; create index on nodestore_node ("timestamp")`,
	}
	for name, sql := range shapes {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.exec(sql)
			made := w.plan()
			if !made.Go || made.Census == nil || made.Census.Nodes == 0 || len(made.Census.Rejected) != 0 || made.Cost == nil {
				t.Errorf("refused by %+v; census %+v", made.Reasons(NoGo), made.Census)
			}
		})
	}
}

func TestShardsPerDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		day    int64 // bytes
		shards int
		detail string
		remedy string
	}{
		{10e9, 3, "3 shards a day for at most 10.00 GB, 30 in all", "1 a day would make it 10"},
		{100e9, 5, "50 in all", "3 a day would make it 30"},
		{100e9, 3, "30 in all", ""},
		{1e9, 1, "10 in all", ""},
	} {
		m := forecastOf(t, func(m *forecast) {
			m.to.run, m.to.preview.Shards = m.run, c.shards
			for i := range m.plan.Days {
				m.plan.Days[i].Bytes = c.day
			}
		})
		m.to.checkShards(t.Context())
		got := find(t, m.plan, Target, "shards_per_day")
		if got.State != OK || !strings.Contains(got.Detail, c.detail) || !strings.HasPrefix(got.Remedy, c.remedy) || (c.remedy == "") != (got.Remedy == "") {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}
