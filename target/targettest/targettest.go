// Package targettest opens targets for tests of the packages that stand on target.
package targettest

import (
	"net/url"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Today is the day that tests write to.
const Today = node.Day(20_000)

// Patience is how long a target of a test waits.
const Patience = 20 * time.Second

// Bed is one test's corner with a target.
type Bed struct {
	testservers.Corner
	Target *target.Target
}

// In opens the target of a corner, whose indices have so many shards.
func In(c testservers.Corner, shards int) Bed {
	c.T.Helper()
	return Bed{c, Open(c, c.URL, shards, Patience)}
}

// Index is the name of the index of Today.
func (b Bed) Index() string { return b.Target.Backend().IndexOf(Today) }

// Open opens a target for a corner, at a URL that leads to its server.
func Open(c testservers.Corner, at string, shards int, patience time.Duration) *target.Target {
	c.T.Helper()
	to, err := target.Open(c.T.Context(), target.Config{
		Config: cluster.Config{URLs: []string{at}, Patience: patience},
		Backend: target.Backend{
			Alias: c.Name, Template: c.Name, Index: c.Name + "-{date}", Pattern: c.Name + "-*", Codec: "best_compression", Shards: shards,
		},
	})
	if err != nil {
		c.T.Fatalf("%v\n%s", err, hint.Of(err))
	}
	c.T.Cleanup(to.Close)
	return to
}

// Through opens a target for a corner behind a proxy.
func Through(c testservers.Corner, rule faulty.Rule) *target.Target {
	c.T.Helper()
	server, err := url.Parse(c.URL)
	if err != nil {
		c.T.Fatal(err)
	}
	return Open(c, faulty.NewHTTPProxy(c.T, server.Host, rule).URL(), 1, Patience)
}
