package source

import (
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

const ourConnections = `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'nodestore-migrate'`

func TestOpeningAndLookingNeedsOneConnection(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(plain)
		limited := db
		limited.url = db.roleURL("single")
		role := roleOf(t, limited.url)
		db.exec("grant select on nodestore_node to " + role + "; alter role " + role + " connection limit 1")
		s, err := Open(t.Context(), Config{ConnString: limited.url, Table: "nodestore_node", Connections: 4, Warn: func(text string) { t.Error(text) }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		condition(t, s)
		if _, err := siloOf(t.Context(), s.server, "public"); err != nil {
			t.Error(err)
		}
		if n := db.exec(ourConnections)[0][0]; n != "1" {
			t.Errorf("%s connections", n)
		}
	})
}

// A role that may have two connections reads with two of four readers.
func TestFewerConnectionsThanReaders(t *testing.T) {
	eachVersion(t, func(t *testing.T, db database) {
		db.exec(manyRows)
		limited := db
		limited.url = db.roleURL("limited")
		role := roleOf(t, limited.url)
		db.exec("grant select on nodestore_node to " + role + "; alter role " + role + " connection limit 2")
		var warned atomic.Int64
		s, err := Open(t.Context(), Config{ConnString: limited.url, Table: "nodestore_node", Connections: 4, Warn: func(text string) {
			if warned.Add(1); !strings.Contains(text, "fewer than 4 connections (too many connections for role") {
				t.Error(text)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var readers errgroup.Group
		var reading atomic.Int64
		two := make(chan struct{})
		for range 4 {
			readers.Go(func() error {
				first := true
				return s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error {
					if first && reading.Add(1) == 2 {
						close(two)
					}
					first = false
					<-two // so that there are two at the same time
					return nil
				})
			})
		}
		if err := readers.Wait(); err != nil || warned.Load() != 1 || reading.Load() != 4 {
			t.Errorf("%d readers, %d warnings, %v", reading.Load(), warned.Load(), err)
		}
	})
}
