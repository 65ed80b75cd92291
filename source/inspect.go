package source

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Condition is what a plan wants to know of a source beyond what is needed to
// read it. What could not be found out is left out: some managed servers refuse
// a standby's functions.
type Condition struct {
	HeapBytes   int64    // of all tables beneath
	ToastBytes  int64    // of their TOAST tables with their indexes
	IndexBytes  int64    // of their other indexes
	Correlation *float64 // of timestamp with the order on disk, -1 to 1
	Analyzed    *time.Time
	Encoding    string // of the server's text
	Pooled      bool   // somebody between here and the server hands out server connections

	// OldestTransaction is the age of the longest running one of other
	// sessions, 0 if none runs.
	OldestTransaction *time.Duration

	Standby *Standby // nil: a primary
}

// Standby is what bears on long reads from a hot standby.
type Standby struct {
	Lag       time.Duration // how old the last replayed transaction is, 0 if all is replayed
	Feedback  bool          // hot_standby_feedback: the primary keeps what is read here
	MaxDelay  time.Duration // max_standby_streaming_delay, after which a query is cancelled
	Unlimited bool          // it never is
}

// Condition looks at the server around the relation. It reads catalogs and
// statistics, no row of the relation.
func (s *Source) Condition(ctx context.Context) (Condition, error) {
	var c Condition
	for _, look := range []func(context.Context, *Condition) error{
		s.lookAtSizes, s.lookAtStatistics, s.lookAtSession, s.lookAtTransactions, s.lookAtStandby, s.lookAtPooler,
	} {
		if err := look(ctx, &c); err != nil && !isRefused(err) {
			return Condition{}, err
		}
	}
	return c, nil
}

// beneath joins the tables that hold the relation's rows. The list of a
// partitioned table without partitions is empty.
func (s *Source) beneath() string {
	tables := s.sql.tables
	if tables == "" {
		tables = "(null, null)"
	}
	return "pg_class c join pg_namespace n on n.oid = c.relnamespace and (n.nspname, c.relname) in (" + tables + ")"
}

func (s *Source) lookAtSizes(ctx context.Context, c *Condition) error {
	const what = "read sizes of tables"
	row, err := s.queryRow(ctx, what, `select coalesce(sum(pg_relation_size(c.oid)), 0)::bigint,
		coalesce(sum(pg_total_relation_size(nullif(c.reltoastrelid, 0))), 0)::bigint, coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint from `+s.beneath())
	if err != nil {
		return err
	}
	for i, field := range []*int64{&c.HeapBytes, &c.ToastBytes, &c.IndexBytes} {
		if *field, err = strconv.ParseInt(row[i], 10, 64); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// lookAtStatistics takes the correlation of the largest table beneath.
func (s *Source) lookAtStatistics(ctx context.Context, c *Condition) error {
	const what = "read statistics"
	results, err := s.query(ctx, what, `select t.correlation, to_char(greatest(u.last_analyze, u.last_autoanalyze), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
		from `+s.beneath()+`
		left join pg_stats t on t.schemaname = n.nspname and t.tablename = c.relname and t.attname = 'timestamp' and not t.inherited
		left join pg_stat_user_tables u on u.relid = c.oid
		order by pg_table_size(c.oid) desc limit 1`)
	if err != nil || len(results[0]) == 0 {
		return err
	}
	row := results[0][0]
	if row[0] != "" {
		correlation, err := strconv.ParseFloat(row[0], 64)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c.Correlation = &correlation
	}
	if row[1] != "" {
		analyzed, err := time.Parse(time.RFC3339, row[1])
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c.Analyzed = &analyzed
	}
	return nil
}

func (s *Source) lookAtSession(ctx context.Context, c *Condition) error {
	row, err := s.queryRow(ctx, "read settings of the session", "select current_setting('server_encoding')")
	if err != nil {
		return err
	}
	c.Encoding = row[0]
	return nil
}

// lookAtTransactions needs pg_read_all_stats: without it, PostgreSQL hides when
// the transactions of other roles began.
func (s *Source) lookAtTransactions(ctx context.Context, c *Condition) error {
	const what = "read running transactions"
	row, err := s.queryRow(ctx, what, `select pg_has_role('pg_read_all_stats', 'usage'),
		coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0) from pg_stat_activity
		where pid <> pg_backend_pid() and backend_type = 'client backend'`)
	if err != nil || row[0] != "t" {
		return err
	}
	oldest, err := seconds(row[1])
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c.OldestTransaction = &oldest
	return nil
}

func (s *Source) lookAtStandby(ctx context.Context, c *Condition) error {
	if !s.relation.InRecovery {
		return nil
	}
	const what = "read state of the standby"
	row, err := s.queryRow(ctx, what, `select case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
		  else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0) end,
		current_setting('hot_standby_feedback'), (select setting from pg_settings where name = 'max_standby_streaming_delay')`)
	if err != nil {
		return err
	}
	standby := Standby{Feedback: row[1] == "on", Unlimited: row[2] == "-1"}
	if standby.Lag, err = seconds(row[0]); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !standby.Unlimited {
		standby.MaxDelay, err = milliseconds(row[2])
	}
	c.Standby = &standby
	return err
}

// lookAtPooler compares the server process that answers with the one that was
// named when the connection was made: a pooler names none of the server's.
func (s *Source) lookAtPooler(ctx context.Context, c *Condition) error {
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.pool.release(conn)
	const what = "read server process"
	results, err := conn.Exec(ctx, s.transaction()+"select pg_backend_pid()").ReadAll()
	if err != nil {
		return queryFailure(ctx, what, err)
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 {
		return fmt.Errorf("%s: the server did not answer with one row", what)
	}
	c.Pooled = string(last.Rows[0][0]) != strconv.FormatUint(uint64(conn.PID()), 10)
	return nil
}

func seconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	return time.Duration(s * float64(time.Second)), err
}

func milliseconds(text string) (time.Duration, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(ms) * time.Millisecond, err
}

// Sample hands at most limit nodes of [from, to) to visit, the first by
// timestamp. It wants TimestampIndexed: otherwise all rows of the range are sorted.
func (s *Source) Sample(ctx context.Context, span Slice, limit int, visit func(node.Node) error) error {
	return s.nodes(ctx, "sample nodes", fmt.Sprintf(`%s order by "timestamp" limit %d`, inRange(span.From, span.To), limit), visit)
}
