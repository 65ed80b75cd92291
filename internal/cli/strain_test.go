package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// TestStrainIsJudged plays looks at a source, fifteen seconds apart.
func TestStrainIsJudged(t *testing.T) {
	standby := func(name string, replayed int64) source.Replica {
		return source.Replica{Name: name, Replayed: replayed}
	}
	for _, test := range []struct {
		name string
		look func(n int) source.Strain // n-th
		held []int                     // looks at which it is held
		warn string
	}{
		{"a standby that keeps up", func(n int) source.Strain {
			return source.Strain{Written: int64(n) * 100, Standbys: []source.Replica{standby("a", int64(n)*100-300)}}
		}, nil, ""},
		{"one that stands still for a while", func(n int) source.Strain {
			replayed := int64(min(n, 4)) * 100
			if n > 12 {
				replayed = int64(n) * 100
			}
			return source.Strain{Written: int64(n) * 100, Standbys: []source.Replica{standby("a", replayed)}}
		}, []int{9, 10, 11, 12}, ""},
		{"one that is an hour behind from the start", func(n int) source.Strain {
			return source.Strain{Written: int64(n+240) * 100, Standbys: []source.Replica{standby("a", int64(n)*100)}}
		}, nil, ""},
		{"one that stands still for ever", func(n int) source.Strain {
			return source.Strain{Written: int64(n) * 100, Standbys: []source.Replica{standby("a", 0)}}
		}, between(5, 45), "another reason"},
		{"a long transaction of our own", func(n int) source.Strain {
			return source.Strain{Oldest: int64(n) * 100e6}
		}, between(4, 44), "another reason"},
		{"sessions that are taken", func(n int) source.Strain {
			taken := 50
			if n == 3 || n == 4 {
				taken = 96
			}
			return source.Strain{Sessions: taken, Most: 100}
		}, []int{3, 4}, ""},
		{"standbys that cannot be seen", func(int) source.Strain { return source.Strain{Hidden: true} }, nil, "pg_monitor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var warned []string
			watch := newStrainWatch(defaultStrainLimits(), func(text string) { warned = append(warned, text) })
			var held []int
			for n := range 60 {
				if watch.judge(test.look(n), time.Unix(0, 0).Add(time.Duration(n)*15*time.Second)) != "" {
					held = append(held, n)
				}
			}
			if !slices.Equal(held, test.held) {
				t.Errorf("held at %v, want %v", held, test.held)
			}
			if (test.warn == "") != (len(warned) == 0) || len(warned) > 1 || test.warn != "" && !strings.Contains(warned[0], test.warn) {
				t.Errorf("warned: %q", warned)
			}
		})
	}
}

// between lists the numbers from first to last.
func between(first, last int) (list []int) {
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

// TestStandbyThatFallsBehindIsSeen pauses the replay of a real standby, and resumes it.
func TestStandbyThatFallsBehindIsSeen(t *testing.T) {
	t.Parallel()
	primary := testservers.OwnPostgres(t, testbed.PostgresOptions{})
	fillSource(t, primary.URL(), 10)
	standby := testservers.OwnPostgres(t, testbed.PostgresOptions{StandbyOf: primary})
	on := func(address, sql string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	from, err := source.Open(t.Context(), source.Config{ConnString: primary.URL(), Table: "nodestore_node"})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	limits := defaultStrainLimits()
	limits.lag = 20 * time.Millisecond
	watch := newStrainWatch(limits, func(text string) { t.Errorf("warned: %s", text) })
	// Each look has something written before it, as by Sentry.
	until := func(held bool) {
		t.Helper()
		for {
			on(primary.URL(), `update nodestore_node set "data" = "data" || ' '`)
			cause, err := watch.look(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			if held == strings.Contains(cause, "standby ") && (!held || strings.Contains(cause, "behind the source")) && len(watch.current) == 1 {
				return
			}
		}
	}
	until(false)
	on(standby.URL(), "select pg_wal_replay_pause()")
	until(true)
	on(standby.URL(), "select pg_wal_replay_resume()")
	until(false)

	on(primary.URL(), "create role reader login; grant select on nodestore_node to reader")
	address := strings.Replace(primary.URL(), "postgres@", "reader@", 1)
	limited, err := source.Open(t.Context(), source.Config{ConnString: address, Table: "nodestore_node"})
	if err != nil {
		t.Fatal(err)
	}
	defer limited.Close()
	if s, err := limited.Strain(t.Context()); err != nil || !s.Hidden || len(s.Standbys) > 0 || s.Most == 0 {
		t.Errorf("a role without rights sees %+v, %v", s, err)
	}
}

// TestTakenSessionsHold has others take nearly all sessions of a source, and leave.
func TestTakenSessionsHold(t *testing.T) {
	t.Parallel()
	server := testservers.OwnPostgres(t, testbed.PostgresOptions{Settings: map[string]string{"max_connections": "28", "superuser_reserved_connections": "3"}})
	fillSource(t, server.URL(), 60)
	var others []*pgx.Conn
	for range 24 {
		conn, err := pgx.Connect(t.Context(), server.URL())
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, conn)
		t.Cleanup(func() { _ = conn.Close(t.Context()) }) // it is closed below, unless the test failed
	}
	v := newValve(t, testservers.OpenSearch(t, testbed.DefaultOpenSearch), 1)
	said, ended := startCopy(t, server.URL(), v.proxy.URL)
	await(t, ended, said, "a line that says why it holds", func() bool {
		return strings.Contains(said.String(), "of the source's 25 sessions are taken")
	})
	v.open()
	for _, conn := range others {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if !strings.Contains(said.String(), `"msg":"resuming"`) {
		t.Errorf("it did not resume:\n%s", said)
	}
}
