package source

import (
	"context"
	"time"
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
	l := &looking{server: s.server, beneath: s.sql.beneath(), standby: s.relation.InRecovery}
	for _, look := range []func(context.Context) error{
		l.atSizes, l.atStatistics, l.atSession, l.atTransactions, l.atStandby,
	} {
		if err := look(ctx); err != nil && !isRefused(err) {
			return Condition{}, err
		}
	}
	return l.Condition, nil
}

// looking is what Condition has found so far.
type looking struct {
	*server
	Condition
	beneath string // the tables that hold the relation's rows, as statements.beneath joins them
	standby bool
}

func (l *looking) atSizes(ctx context.Context) error {
	return l.queryRow(ctx, "read sizes of tables", `select coalesce(sum(pg_relation_size(c.oid)), 0)::bigint,
		coalesce(sum(pg_total_relation_size(nullif(c.reltoastrelid, 0))), 0)::bigint, coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint from `+l.beneath,
		&l.HeapBytes, &l.ToastBytes, &l.IndexBytes)
}

// atStatistics takes the correlation of the largest table beneath.
func (l *looking) atStatistics(ctx context.Context) error {
	var correlation float64
	var known bool
	var analyzed int64
	return l.queryEach(ctx, "read statistics", `select t.correlation, t.correlation is not null, date_trunc('second', greatest(u.last_analyze, u.last_autoanalyze))
		from `+l.beneath+`
		left join pg_stats t on t.schemaname = n.nspname and t.tablename = c.relname and t.attname = 'timestamp' and not t.inherited
		left join pg_stat_user_tables u on u.relid = c.oid
		order by pg_table_size(c.oid) desc limit 1`, func() error {
		if known {
			l.Correlation = &correlation
		}
		if analyzed != 0 {
			at := time.UnixMicro(analyzed).UTC()
			l.Analyzed = &at
		}
		return nil
	}, &correlation, &known, micros{&analyzed})
}

// atSession compares the server process that answers with the one that was
// named when the connection was made: a pooler names none of the server's.
func (l *looking) atSession(ctx context.Context) error {
	const what = "read settings of the session"
	return l.patiently(ctx, func() error {
		results, named, err := l.exec(ctx, what, l.transaction()+"select current_setting('server_encoding'), pg_backend_pid()")
		if err != nil {
			return err
		}
		for _, row := range results[0] {
			var process int64
			err = scan(what, row, &l.Encoding, &process)
			l.Pooled = process != int64(named)
		}
		return err
	})
}

// atTransactions needs pg_read_all_stats: without it, PostgreSQL hides when
// the transactions of other roles began.
func (l *looking) atTransactions(ctx context.Context) error {
	var allowed bool
	var oldest time.Duration
	err := l.queryRow(ctx, "read running transactions", `select pg_has_role('pg_read_all_stats', 'usage'),
		coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0) from pg_stat_activity
		where pid <> pg_backend_pid() and backend_type = 'client backend'`, &allowed, &oldest)
	if allowed {
		l.OldestTransaction = &oldest
	}
	return err
}

func (l *looking) atStandby(ctx context.Context) error {
	if !l.standby {
		return nil
	}
	var standby Standby
	err := l.queryRow(ctx, "read state of the standby", `select case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
		  else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0) end,
		current_setting('hot_standby_feedback')::bool, setting::float8 / 1000, setting = '-1'
		from pg_settings where name = 'max_standby_streaming_delay'`,
		&standby.Lag, &standby.Feedback, &standby.MaxDelay, &standby.Unlimited)
	if err != nil {
		return err
	}
	if standby.Unlimited {
		standby.MaxDelay = 0
	}
	l.Standby = &standby
	return nil
}
