package plan

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// Relation is what holds the nodes. Sizes are in bytes and as stored.
type Relation struct {
	Name        string   `json:"name"` // schema.name
	Kind        string   `json:"kind"`
	Encoding    string   `json:"encoding"`       // text or bytea
	Server      string   `json:"server"`         // PostgreSQL's own words
	Rows        int64    `json:"rows_estimated"` // by the planner; -1: never analysed
	HeapBytes   int64    `json:"heap_bytes"`
	ToastBytes  int64    `json:"toast_bytes"`
	IndexBytes  int64    `json:"index_bytes"`
	First       string   `json:"first,omitempty"` // oldest timestamp
	Last        string   `json:"last,omitempty"`  // newest timestamp
	Correlation *float64 `json:"correlation,omitempty"`
	Pooled      bool     `json:"pooled"`
	Standby     bool     `json:"standby"`
	tables      []string // beneath
}

// SiloFacts is which part of Sentry the database holds.
type SiloFacts struct {
	source.Silo
	Region string `json:"region,omitempty"` // as the operator named it
}

func (m *maker) checkSilo(ctx context.Context) {
	if m.source == nil {
		return
	}
	silo, err := m.source.CheckSilo(ctx, m.config.Region)
	if silo.Kind != "" {
		m.plan.Silo = &SiloFacts{silo, m.config.Region}
	}
	if err != nil {
		m.refuse(Source, "silo", err)
		return
	}
	detail := siloText(silo.Kind)
	if m.config.Region != "" {
		detail += ", region " + m.config.Region
	}
	m.ok(Source, "silo", detail)
}

func siloText(kind source.SiloKind) string {
	switch kind {
	case source.Monolith:
		return "a monolith: all of Sentry in one database"
	case source.RegionSilo:
		return "one region's database"
	case source.NodestoreAlone:
		return "nodestore_node without Sentry's other tables"
	case source.SplitLeftover:
		return "a monolith beside the databases of a split"
	}
	return "its kind cannot be seen"
}

func (m *maker) checkRelation(ctx context.Context) {
	if m.source == nil {
		return
	}
	r, id := m.source.Relation(), m.source.Identity()
	m.plan.Relation = &Relation{
		Name: id.Table, Kind: string(r.Kind), Encoding: string(r.Encoding), Server: r.ServerText,
		Rows: r.Rows, Standby: r.InRecovery, tables: r.Tables,
	}
	m.ok(Source, "relation", fmt.Sprintf("%s %s in database %s, data is %s", r.Kind, id.Table, id.Database, r.Encoding))
	switch {
	case r.TimestampIndexed:
		m.ok(Source, "timestamp_index", "there is one")
	case r.Prunes:
		m.ok(Source, "timestamp_index", fmt.Sprintf("none is needed: a slice reads few of the %d partitions", len(r.Tables)))
	case len(r.Unindexed) == 0 && r.Kind == source.View:
		m.add(Check{
			Source, "timestamp_index", NoGo,
			"the view sorts or hides its rows (a security barrier, DISTINCT, ORDER BY): no index on timestamp gives their order",
			"name a table beneath it with --table, or a view that only selects columns",
		})
	default:
		m.add(Check{
			Source, "timestamp_index", NoGo,
			"no index begins with timestamp: each of thousands of slices would read the whole table",
			onTables(r.Unindexed, `CREATE INDEX CONCURRENTLY ON %s ("timestamp")`),
		})
	}
	if !r.UniqueID {
		m.add(Check{
			Source, "unique_id", Warning,
			"nothing makes ids unique: the same id may come several times, its newest row is what Sentry will see", "",
		})
	}
	if !r.IDIndexed {
		m.add(Check{
			Source, "id_index", Warning, "no index on id: whenever single nodes are looked up, by migrate and verify, the whole table is read",
			onTables(r.Tables, "CREATE INDEX CONCURRENTLY ON %s (id)"),
		})
	}
	if id.System == "" {
		m.add(Check{
			Source, "system_identifier", Warning,
			"the server's system identifier may not be read: databases of one name on two servers look the same",
			"name the region with --region NAME, or grant EXECUTE on pg_control_system() to the role",
		})
	}
}

// onTables is a remedy that can be carried out: on the tables that have the rows,
// since a view has neither an index nor statistics, and a partitioned table
// takes no index while it is written to.
func onTables(tables []string, statement string) string {
	const shown = 3
	var run []string
	for _, table := range tables[:min(len(tables), shown)] {
		run = append(run, fmt.Sprintf(statement, table))
	}
	if len(run) == 0 {
		return ""
	}
	text := "run: " + strings.Join(run, "; ")
	if more := len(tables) - shown; more > 0 {
		text += fmt.Sprintf("; and so on for %d more", more)
	}
	return text
}

func (m *maker) checkCondition(ctx context.Context) {
	if m.source == nil {
		return
	}
	c, err := m.source.Condition(ctx)
	if err != nil {
		m.unknown(Source, "condition", err, "sizes, lag and running transactions are not known")
		return
	}
	r := m.plan.Relation
	r.HeapBytes, r.ToastBytes, r.IndexBytes, r.Correlation, r.Pooled = c.HeapBytes, c.ToastBytes, c.IndexBytes, c.Correlation, c.Pooled
	m.ok(Source, "size", fmt.Sprintf("heap %s, TOAST %s, indexes %s", Bytes(c.HeapBytes), Bytes(c.ToastBytes), Bytes(c.IndexBytes)))
	m.checkStatistics(c)
	m.checkSession(c)
	m.checkStandby(c)
	m.checkTransactions(c)
}

// looseCorrelation is where reading a slice begins to mean reading pages of
// many others: the heap is small, but each page is fetched again and again.
const looseCorrelation = 0.5

func (m *maker) checkStatistics(c source.Condition) {
	remedy := onTables(m.plan.Relation.tables, "ANALYZE %s")
	switch {
	case m.plan.Relation.Rows < 0:
		m.add(Check{Source, "statistics", Warning, "the table was never analysed: rows and bytes of the days are guesses", remedy})
	case c.Analyzed != nil:
		m.ok(Source, "statistics", "analysed "+c.Analyzed.Format(time.DateTime)+" UTC; rows and bytes of the days are the planner's estimates")
	default:
		m.ok(Source, "statistics", "rows and bytes of the days are the planner's estimates")
	}
	switch {
	case c.Correlation == nil:
		m.add(Check{Source, "correlation", Unknown, "no statistics say how far rows lie in the order of their timestamps", remedy})
	case max(*c.Correlation, -*c.Correlation) < looseCorrelation:
		m.add(Check{
			Source, "correlation", Warning,
			fmt.Sprintf("rows lie scattered over the table (correlation of timestamp %.2f): reading is slower by the disk's random access", *c.Correlation), "",
		})
	default:
		m.ok(Source, "correlation", fmt.Sprintf("rows lie in the order of their timestamps (%.2f)", *c.Correlation))
	}
}

func (m *maker) checkSession(c source.Condition) {
	connection := "direct"
	if c.Pooled {
		connection = "through a pooler"
	}
	m.ok(Source, "connection", connection+", encoding "+c.Encoding)
}

// longLag is how old a standby's answers may be without a word.
const longLag = time.Minute

func (m *maker) checkStandby(c source.Condition) {
	s := c.Standby
	switch {
	case s == nil:
		m.ok(Source, "standby", "a primary")
	case s.Lag > longLag:
		m.add(Check{
			Source, "standby", Warning, fmt.Sprintf("a standby that is %s behind: what Sentry wrote since is not seen yet", s.Lag.Round(time.Second)),
			"wait until it has caught up, or read from the primary",
		})
	case !s.Feedback && !s.Unlimited:
		m.add(Check{
			Source, "standby", Warning, fmt.Sprintf("a standby that cancels reads after %s when they are in the way of replay: slices are then read again", s.MaxDelay),
			"set hot_standby_feedback = on, or raise max_standby_streaming_delay",
		})
	default:
		m.ok(Source, "standby", fmt.Sprintf("a standby, %s behind", s.Lag.Round(time.Second)))
	}
}

// longTransaction is where somebody should ask whose it is: it holds back
// vacuum, and rows that it writes come with old timestamps.
const longTransaction = 15 * time.Minute

func (m *maker) checkTransactions(c source.Condition) {
	switch age := c.OldestTransaction; {
	case age == nil:
		m.add(Check{Source, "transactions", Unknown, "how long transactions run is hidden from this role", "grant it pg_read_all_stats"})
	case *age > longTransaction:
		m.add(Check{
			Source, "transactions", Warning,
			fmt.Sprintf("a transaction runs since %s: what it has written may come later than catch-up looks back", age.Round(time.Second)),
			"end it, or run migrate with a longer --overlap",
		})
	default:
		m.ok(Source, "transactions", fmt.Sprintf("the longest runs since %s", age.Round(time.Second)))
	}
}

// Day is a UTC day with what is to be done about it.
type Day struct {
	Day     string `json:"day"`
	Rows    int64  `json:"rows_estimated"` // -1: no idea
	Bytes   int64  `json:"bytes_estimated"`
	Fate    string `json:"fate"`  // copy, done, out_of_retention
	Index   string `json:"index"` // where it goes
	Exists  bool   `json:"index_exists"`
	planned node.Day
}

// The fates of days.
const (
	DayCopy = "copy"
	DayDone = "done"
	DayOld  = "out_of_retention"
)

func (m *maker) checkDays(ctx context.Context) {
	if m.source == nil {
		return
	}
	since, until := m.config.Since, m.config.Until
	if since == 0 {
		since = node.MinDay
	}
	if until == 0 {
		until = node.MaxDay + 1
	}
	sizes, err := m.source.Days(ctx, since.Start(), until.Start())
	if err != nil {
		m.refuse(Source, "days", err)
		return
	}
	for _, size := range sizes {
		m.plan.Days = append(m.plan.Days, m.day(size))
		if err := size.Unreadable; err != nil {
			m.add(Check{Source, "damage", Warning, fmt.Sprintf("day %s: %v: such rows are rejected", size.Day, err), hint.Of(err)})
		}
	}
	if len(sizes) == 0 {
		m.add(Check{Source, "days", Warning, "there is not one row to copy", "check --source, --table, --since and --until"})
		return
	}
	m.checkBounds(ctx)
	m.ok(Source, "days", m.daysText())
}

func (m *maker) day(size source.DaySize) Day {
	d := Day{Day: size.Day.String(), Rows: size.Rows, Bytes: size.Bytes, Fate: DayCopy, planned: size.Day, Index: m.config.Target.Backend.IndexOf(size.Day)}
	if m.state != nil {
		if done, ok := m.state.Days[d.Day]; ok && !done.Sealed.IsZero() {
			d.Fate = DayDone
		}
	}
	if m.config.Retention > 0 && size.Day.Start() < m.now-int64(m.config.Retention)*(24*time.Hour).Microseconds() {
		d.Fate = DayOld
	}
	return d
}

func (m *maker) checkBounds(ctx context.Context) {
	first, last, ok, err := m.source.Bounds(ctx)
	if err != nil {
		m.unknown(Source, "bounds", err, "the oldest and the newest timestamp are not known")
		return
	}
	if !ok {
		return // Sentry deleted the last row meanwhile
	}
	m.plan.Relation.First, m.plan.Relation.Last = string(node.AppendTimestamp(nil, first)), string(node.AppendTimestamp(nil, last))
	if last > m.now+time.Hour.Microseconds() {
		m.add(Check{Source, "future", Warning, "the newest row is from the future, " + m.plan.Relation.Last, "a clock was wrong when it was written; it is copied to its own day"})
	}
}

func (m *maker) daysText() string {
	var total, old, done int
	var rows, bytes int64
	for _, d := range m.plan.Days {
		total++
		switch d.Fate {
		case DayOld:
			old++
		case DayDone:
			done++
		default:
			rows += max(d.Rows, 0)
			bytes += d.Bytes
		}
	}
	text := fmt.Sprintf("%d days, %s to %s; about %d rows and %s to copy", total, m.plan.Days[0].Day, m.plan.Days[total-1].Day, rows, Bytes(bytes))
	if old > 0 {
		text += fmt.Sprintf("; %d days out of retention are not copied", old)
	}
	if done > 0 {
		text += fmt.Sprintf("; %d days are sealed already", done)
	}
	return text
}

// Bytes writes a size for a person.
func Bytes(n int64) string {
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}} {
		if float64(n) >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}
