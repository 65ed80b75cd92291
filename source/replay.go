package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Replay is how far a standby is.
type Replay struct {
	InRecovery bool  // the server is a standby; if not, nothing else is set
	Paused     bool  // somebody paused its replay
	Receiving  bool  // it receives WAL from another server now; one that reads an archive of WAL does not
	Until      int64 // when the last transaction that it replayed was committed, in microseconds since 1970; 0: unknown
}

// Replay asks how far the server has replayed. A standby can be promoted at any
// time, so the answer is never kept.
func (s *Source) Replay(ctx context.Context) (Replay, error) {
	r, _, err := s.replay(ctx)
	return r, err
}

// Now returns the time, in microseconds since 1970, up to which the server can
// have rows: its clock, or on a standby, what it has replayed. Where that is
// unknown (a standby that started and has replayed nothing yet, some managed
// servers) it is the end of its newest row, and 0 if there is none.
//
// From then on no other server is listened to that is behind this one, such as
// after a failover or through a balancer over replicas: what asks it fails, is
// Retryable, and succeeds when it has caught up.
func (s *Source) Now(ctx context.Context) (int64, error) {
	r, now, err := s.replay(ctx)
	switch {
	case err != nil:
		return 0, err
	case r.Until != 0:
		now = r.Until
	case r.InRecovery:
		_, last, ok, err := s.Bounds(ctx)
		if err != nil {
			return 0, err
		}
		if now = last + 1; !ok {
			now = 0
		}
	}
	return now, s.raiseFloor(ctx)
}

// replay returns the server's clock too.
func (s *Source) replay(ctx context.Context) (r Replay, clock int64, err error) {
	const what = "read clock and replay"
	row, err := s.queryRow(ctx, what, "select clock_timestamp(), pg_is_in_recovery()")
	if err != nil {
		return Replay{}, 0, err
	}
	if clock, err = parseTimestamp(row[0]); err != nil {
		return Replay{}, 0, fmt.Errorf("%s: %w", what, err)
	}
	if row[1] != "t" {
		return Replay{}, clock, nil
	}
	// Promoted meanwhile, it would refuse the functions of a standby.
	row, err = s.queryRow(ctx, what, `select pg_is_in_recovery(), exists (select from pg_stat_wal_receiver),
		case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
		case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() end`)
	switch {
	case isRefused(err):
		return Replay{InRecovery: true}, clock, nil
	case err != nil:
		return Replay{}, 0, err
	case row[0] != "t":
		return Replay{}, clock, nil
	}
	r = Replay{InRecovery: true, Receiving: row[1] == "t", Paused: row[2] == "t"}
	if row[3] == "" {
		return r, clock, nil
	}
	if r.Until, err = parseTimestamp(row[3]); err != nil {
		return Replay{}, 0, fmt.Errorf("%s: %w", what, err)
	}
	return r, clock, nil
}

// raiseFloor notes how much WAL the server has, where it says so: some managed
// servers have no such function.
func (s *Source) raiseFloor(ctx context.Context) error {
	row, err := s.queryRow(ctx, "read position of WAL", `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
		(select has_language_privilege(oid, 'usage') from pg_language where lanname = 'plpgsql')`)
	if isRefused(err) {
		return nil
	}
	if err == nil && row[0] != "" && row[1] == "t" {
		s.floor.Store(&row[0])
	}
	return err
}

// isRefused says that the server will not answer a question at all.
func isRefused(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok && classOf(err) == stop
}

// transaction is how each message to the server begins.
func (s *Source) transaction() string {
	floor := s.floor.Load()
	if floor == nil {
		return s.prologue
	}
	return s.prologue + fmt.Sprintf(`do $$ begin if pg_is_in_recovery() and pg_last_wal_replay_lsn() < %s then
	raise exception 'this standby has not replayed yet what another server had' using errcode = '40001'; end if; end $$;
`, textLiteral(*floor))
}
