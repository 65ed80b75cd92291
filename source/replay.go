package source

import (
	"context"
	"fmt"
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
func (s *Source) Now(ctx context.Context) (int64, error) {
	r, clock, err := s.replay(ctx)
	switch {
	case err != nil:
		return 0, err
	case !r.InRecovery:
		return clock, nil
	case r.Until != 0:
		return r.Until, nil
	}
	_, last, ok, err := s.Bounds(ctx)
	if err != nil || !ok {
		return 0, err
	}
	return last + 1, nil
}

// replay returns the server's clock too. The functions that are for a standby
// alone are errors on a primary.
func (s *Source) replay(ctx context.Context) (r Replay, clock int64, err error) {
	const what = "read clock and replay"
	row, err := s.queryRow(ctx, what, `select clock_timestamp(), pg_is_in_recovery(),
		case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
		case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() end,
		exists (select from pg_stat_wal_receiver)`)
	if err != nil {
		return Replay{}, 0, err
	}
	if clock, err = parseTimestamp(row[0]); err != nil {
		return Replay{}, 0, fmt.Errorf("%s: %w", what, err)
	}
	if row[1] != "t" {
		return Replay{}, clock, nil
	}
	r = Replay{InRecovery: true, Paused: row[2] == "t", Receiving: row[4] == "t"}
	if row[3] == "" {
		return r, clock, nil
	}
	if r.Until, err = parseTimestamp(row[3]); err != nil {
		return Replay{}, 0, fmt.Errorf("%s: %w", what, err)
	}
	return r, clock, nil
}
