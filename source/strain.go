package source

import "context"

// Strain is what others may feel of the source being read.
type Strain struct {
	Written  int64     // bytes of WAL that the server has written, or received as a standby
	Standbys []Replica // that hang on the server and replay what it sends
	Hidden   bool      // there are standbys, and the role may not see how far they are (pg_monitor)

	Oldest   int64 // µs for which the oldest transaction of this tool has been running; 0: none
	Sessions int   // of clients
	Most     int   // sessions that the server has for a role like this
}

// Replica is a standby.
type Replica struct {
	Name     string // as it names itself, with its address
	Replayed int64  // bytes of WAL
}

// Strain looks at the server around what is read. It reads no row of the relation.
func (s *Source) Strain(ctx context.Context) (strain Strain, err error) {
	err = s.queryRow(ctx, "read activity of the server", `select
		coalesce((extract(epoch from max(clock_timestamp() - xact_start) filter (where usename = current_user
		  and application_name = current_setting('application_name') and pid <> pg_backend_pid())) * 1e6)::bigint, 0),
		count(*) filter (where backend_type = 'client backend' or backend_type is null and usename is not null),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
		  - coalesce(current_setting('reserved_connections', true), '0')::int
		from pg_stat_activity`, &strain.Oldest, &strain.Sessions, &strain.Most)
	if err != nil {
		return Strain{}, err
	}
	// Some managed servers refuse what is asked of the log.
	if err := s.standbys(ctx, &strain); err != nil && !isRefused(err) {
		return Strain{}, err
	} else if err != nil {
		strain.Standbys, strain.Hidden = nil, true
	}
	return strain, nil
}

func (s *Source) standbys(ctx context.Context, strain *Strain) error {
	var replica Replica
	var seen bool
	err := s.queryEach(ctx, "read state of standbys", `select coalesce(nullif(application_name, ''), 'without a name') || coalesce(' at ' || host(client_addr), ''),
		replay_lsn is not null, pg_wal_lsn_diff(replay_lsn, '0/0')::bigint from pg_stat_replication
		where state is null or state = 'streaming'`, func() error {
		if !seen {
			strain.Hidden = true
			return nil
		}
		strain.Standbys = append(strain.Standbys, replica)
		return nil
	}, &replica.Name, &seen, &replica.Replayed)
	if err != nil || len(strain.Standbys) == 0 {
		return err
	}
	return s.queryRow(ctx, "read position of the log", `select pg_wal_lsn_diff(case when pg_is_in_recovery()
		then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) else pg_current_wal_lsn() end, '0/0')::bigint`, &strain.Written)
}
