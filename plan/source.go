package plan

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
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
	Rows        int64    `json:"estimated_rows"` // by the planner; -1: never analysed
	HeapBytes   int64    `json:"heap_bytes"`
	ToastBytes  int64    `json:"toast_bytes"`
	IndexBytes  int64    `json:"index_bytes"`
	First       string   `json:"first_at,omitempty"` // oldest timestamp
	Last        string   `json:"last_at,omitempty"`  // newest timestamp
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

// sourceSide looks at the source.
type sourceSide struct{ *run }

func (s *sourceSide) open(ctx context.Context) {
	opened, err := source.Open(ctx, s.config.Source)
	if err != nil {
		s.refuse(Source, "open", err)
		return
	}
	if s.now, err = opened.Now(ctx); err != nil {
		s.refuse(Source, "open", err)
		opened.Close()
		return
	}
	s.source = opened
}

func (s *sourceSide) checkSilo(ctx context.Context) {
	silo, err := s.source.CheckSilo(ctx, s.config.Region)
	if silo.Kind != "" {
		s.plan.Silo = &SiloFacts{silo, s.config.Region}
	}
	if err != nil {
		s.refuse(Source, "silo", err)
		return
	}
	detail := siloText(silo.Kind)
	if s.config.Region != "" {
		detail += ", region " + s.config.Region
	}
	s.ok(Source, "silo", detail)
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

func (s *sourceSide) checkRelation(ctx context.Context) {
	r, id := s.source.Relation(), s.source.Origin(s.config.Region)
	s.plan.Relation = &Relation{
		Name: id.Table, Kind: string(r.Kind), Encoding: string(r.Encoding), Server: r.ServerText,
		Rows: r.Rows, Standby: r.InRecovery, tables: r.Tables,
	}
	s.ok(Source, "relation", fmt.Sprintf("%s %s in database %s, data is %s", r.Kind, id.Table, id.Database, r.Encoding))
	switch {
	case r.TimestampIndexed:
		s.ok(Source, "timestamp_index", "there is one")
	case r.Prunes:
		s.ok(Source, "timestamp_index", fmt.Sprintf("none is needed: a slice reads few of the %d partitions", len(r.Tables)))
	case len(r.Unindexed) == 0 && r.Kind == source.View:
		s.add(Check{
			Side: Source, Name: "timestamp_index", State: NoGo, Lever: ChooseTable,
			Detail: "the view sorts or hides its rows (a security barrier, DISTINCT, ORDER BY): no index on timestamp gives their order",
			Remedy: "name a table beneath it, or a view that only selects columns",
		})
	default:
		s.noGo(Source, "timestamp_index", "no index begins with timestamp: each of thousands of slices would read the whole table",
			onTables(r.Unindexed, `CREATE INDEX CONCURRENTLY ON %s ("timestamp")`))
	}
	if !r.UniqueID {
		s.warn(Source, "unique_id", "nothing makes ids unique: the same id may come several times, its newest row is what Sentry will see", "")
	}
	if !r.IDIndexed {
		s.warn(Source, "id_index", "no index on id: whenever single nodes are looked up, by migrate and verify, the whole table is read",
			onTables(r.Tables, "CREATE INDEX CONCURRENTLY ON %s (id)"))
	}
	if id.System == "" {
		s.add(Check{
			Side: Source, Name: "system_identifier", State: Warning, Lever: NameRegion,
			Detail: "the server's system identifier may not be read: databases of one name on two servers look the same",
			Remedy: "grant EXECUTE on pg_control_system() to the role, or name the region",
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

func (s *sourceSide) checkCondition(ctx context.Context) {
	c, err := s.source.Condition(ctx)
	if err != nil {
		s.unseen(Source, "condition", err, "sizes, lag and running transactions are not known")
		return
	}
	r := s.plan.Relation
	r.HeapBytes, r.ToastBytes, r.IndexBytes, r.Correlation, r.Pooled = c.HeapBytes, c.ToastBytes, c.IndexBytes, c.Correlation, c.Pooled
	s.ok(Source, "size", fmt.Sprintf("heap %s, TOAST %s, indexes %s", amount.Size(c.HeapBytes), amount.Size(c.ToastBytes), amount.Size(c.IndexBytes)))
	s.checkStatistics(c)
	s.checkSession(c)
	s.checkStandby(c)
	s.checkTransactions(c)
}

// looseCorrelation is where reading a slice begins to mean reading pages of
// many others: the heap is small, but each page is fetched again and again.
const looseCorrelation = 0.5

func (s *sourceSide) checkStatistics(c source.Condition) {
	remedy := onTables(s.plan.Relation.tables, "ANALYZE %s")
	switch {
	case s.plan.Relation.Rows < 0:
		s.warn(Source, "statistics", "the table was never analysed: rows and bytes of the days are guesses", remedy)
	case c.Analyzed != nil:
		s.ok(Source, "statistics", "analysed "+c.Analyzed.Format(time.DateTime)+" UTC; rows and bytes of the days are the planner's estimates")
	default:
		s.ok(Source, "statistics", "rows and bytes of the days are the planner's estimates")
	}
	switch {
	case c.Correlation == nil:
		s.unknown(Source, "correlation", "no statistics say how far rows lie in the order of their timestamps", remedy)
	case max(*c.Correlation, -*c.Correlation) < looseCorrelation:
		s.warn(Source, "correlation", fmt.Sprintf("rows lie scattered over the table (correlation of timestamp %.2f): reading is slower by the disk's random access", *c.Correlation), "")
	default:
		s.ok(Source, "correlation", fmt.Sprintf("rows lie in the order of their timestamps (%.2f)", *c.Correlation))
	}
}

func (s *sourceSide) checkSession(c source.Condition) {
	connection := "direct"
	if c.Pooled {
		connection = "through a pooler"
	}
	s.ok(Source, "connection", connection+", encoding "+c.Encoding)
}

// longLag is how old a standby's answers may be without a word.
const longLag = time.Minute

func (s *sourceSide) checkStandby(c source.Condition) {
	standby := c.Standby
	switch {
	case standby == nil:
		s.ok(Source, "standby", "a primary")
	case standby.Lag > longLag:
		s.warn(Source, "standby", fmt.Sprintf("a standby that is %s behind: what Sentry wrote since is not seen yet", standby.Lag.Round(time.Second)),
			"wait until it has caught up, or read from the primary")
	case !standby.Feedback && !standby.Unlimited:
		s.warn(Source, "standby", fmt.Sprintf("a standby that cancels reads after %s when they are in the way of replay: slices are then read again", standby.MaxDelay),
			"set hot_standby_feedback = on, or raise max_standby_streaming_delay")
	default:
		s.ok(Source, "standby", fmt.Sprintf("a standby, %s behind", standby.Lag.Round(time.Second)))
	}
}

// longTransaction is where somebody should ask whose it is: it holds back
// vacuum, and rows that it writes come with old timestamps.
const longTransaction = 15 * time.Minute

func (s *sourceSide) checkTransactions(c source.Condition) {
	switch age := c.OldestTransaction; {
	case age == nil:
		s.unknown(Source, "transactions", "how long transactions run is hidden from this role", "grant it pg_read_all_stats")
	case *age > longTransaction:
		s.add(Check{
			Side: Source, Name: "transactions", State: Warning, Lever: LookBackFurther,
			Detail: fmt.Sprintf("a transaction runs since %s: what it has written may come later than catch-up looks back", age.Round(time.Second)),
			Remedy: "end it, or have migrate look back further",
		})
	default:
		s.ok(Source, "transactions", fmt.Sprintf("the longest has been running for %s", age.Round(time.Second)))
	}
}

// Day is a UTC day with what is to be done about it.
type Day struct {
	Day     string `json:"day"`
	Rows    int64  `json:"estimated_rows"` // -1: no idea
	Bytes   int64  `json:"estimated_bytes"`
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

func (s *sourceSide) checkDays(ctx context.Context) {
	since, until := s.config.Since, s.config.Until
	if since == 0 {
		since = node.MinDay
	}
	if until == 0 {
		until = node.MaxDay + 1
	}
	sizes, err := s.source.Days(ctx, since.Start(), until.Start())
	if err != nil {
		s.refuse(Source, "days", err)
		return
	}
	for _, size := range sizes {
		s.plan.Days = append(s.plan.Days, s.day(size))
		if err := size.Unreadable; err != nil {
			s.add(Check{Side: Source, Name: "damage", State: Warning, Detail: fmt.Sprintf("day %s: %v: such rows are rejected", size.Day, err), Remedy: hint.Of(err), Err: err})
		}
	}
	if len(sizes) == 0 {
		s.add(Check{
			Side: Source, Name: "days", State: Warning, Detail: "there is not one row to copy",
			Remedy: "check that the source, the table and the days are the right ones", Lever: ChooseRows,
		})
		return
	}
	s.checkBounds(ctx)
	s.ok(Source, "days", s.daysText())
}

func (s *sourceSide) day(size source.DaySize) Day {
	d := Day{Day: size.Day.String(), Rows: size.Rows, Bytes: size.Bytes, Fate: DayCopy, planned: size.Day, Index: s.config.Target.Backend.IndexOf(size.Day)}
	if s.state != nil {
		if done, ok := s.state.Days[d.Day]; ok && !done.Sealed.IsZero() {
			d.Fate = DayDone
		}
	}
	if s.config.Retention > 0 && size.Day.Start() < s.now-int64(s.config.Retention)*(24*time.Hour).Microseconds() {
		d.Fate = DayOld
	}
	return d
}

func (s *sourceSide) checkBounds(ctx context.Context) {
	first, last, ok, err := s.source.Bounds(ctx)
	if err != nil {
		s.unseen(Source, "bounds", err, "the oldest and the newest timestamp are not known")
		return
	}
	if !ok {
		return // Sentry deleted the last row meanwhile
	}
	s.plan.Relation.First, s.plan.Relation.Last = string(node.AppendTimestamp(nil, first)), string(node.AppendTimestamp(nil, last))
	if last > s.now+time.Hour.Microseconds() { // which hides when Sentry wrote last
		s.warn(Source, "future", "the newest row is from the future, "+s.plan.Relation.Last, "a clock was wrong when it was written; it is copied to its own day")
		return
	}
	s.checkNewest(time.Duration(max(s.now-last, 0)) * time.Microsecond)
}

// quiet is for how long no Sentry in use writes nothing.
const quiet = 48 * time.Hour

// checkNewest notices a Sentry that stores its nodes elsewhere, as a self-hosted one does
// in S3 since 25.9: what it stored there since is not in the table.
func (s *sourceSide) checkNewest(age time.Duration) {
	switched := s.state != nil && s.state.CatchUp.SwitchedAt != 0
	if switched || age < quiet {
		s.ok(Source, "newest_row", "written "+amount.Roughly(age)+" ago")
		return
	}
	s.warn(Source, "newest_row", fmt.Sprintf("the newest row was written %d days ago, %s: Sentry may store nodes elsewhere (S3) already", int(age.Hours()/24), s.plan.Relation.Last),
		"look at SENTRY_NODESTORE in Sentry's configuration: what it has stored elsewhere is not copied, and cannot be opened once Sentry reads from OpenSearch")
}

func (s *sourceSide) daysText() string {
	var total, old, done int
	var rows, bytes int64
	for _, d := range s.plan.Days {
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
	text := fmt.Sprintf("%d days, %s to %s; about %d rows and %s to copy", total, s.plan.Days[0].Day, s.plan.Days[total-1].Day, rows, amount.Size(bytes))
	if old > 0 {
		text += fmt.Sprintf("; %d days out of retention are not copied", old)
	}
	if done > 0 {
		text += fmt.Sprintf("; %d days are sealed already", done)
	}
	return text
}
