package source

import "context"

// Replay is how far a standby is.
type Replay struct {
	Clock      int64 // the server's time
	InRecovery bool  // the server is a standby; if not, nothing below is set
	Paused     bool  // somebody paused its replay
	Receiving  bool  // it receives WAL from another server now; one that reads an archive of WAL does not
	Until      int64 // when the last transaction that it replayed was committed; 0: unknown
}

// Replay asks how far the server has replayed. A standby can be promoted at any
// time, so the answer is never kept.
func (s *Source) Replay(ctx context.Context) (r Replay, err error) {
	const what = "read clock and replay"
	err = s.queryRow(ctx, what, "select clock_timestamp(), pg_is_in_recovery()", micros{&r.Clock}, &r.InRecovery)
	if err != nil || !r.InRecovery {
		return r, err
	}
	standby := Replay{Clock: r.Clock}
	// Promoted meanwhile, it would refuse the functions of a standby.
	err = s.queryRow(ctx, what, `select pg_is_in_recovery(), exists (select from pg_stat_wal_receiver),
		case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
		case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() end`,
		&standby.InRecovery, &standby.Receiving, &standby.Paused, micros{&standby.Until})
	switch {
	case isRefused(err):
		return r, nil
	case !standby.InRecovery:
		return Replay{Clock: r.Clock}, err
	}
	return standby, err
}

// Now returns the time up to which the server can
// have rows: its clock, or on a standby, what it has replayed. Where that is
// unknown (a standby that started and has replayed nothing yet, some managed
// servers) it is the end of its newest row, and 0 if there is none.
//
// From then on no other server is listened to that is behind this one, such as
// after a failover or through a balancer over replicas: what asks it fails, is
// Retryable, and succeeds when it has caught up.
func (s *Source) Now(ctx context.Context) (int64, error) {
	r, err := s.Replay(ctx)
	now := r.Clock
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

// raiseFloor notes how much WAL the server has, where it says so: some managed
// servers have no such function.
func (s *Source) raiseFloor(ctx context.Context) error {
	var position string
	var checkable bool
	err := s.queryRow(ctx, "read position of WAL", `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
		(select has_language_privilege(oid, 'usage') from pg_language where lanname = 'plpgsql')`, &position, &checkable)
	if isRefused(err) {
		return nil
	}
	if err == nil && position != "" && checkable {
		s.floor.Store(&position)
	}
	return err
}
