package inspect

import (
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// TestMain also finds goroutines that outlive a target: every test closes its own.
func TestMain(m *testing.M) { os.Exit(testservers.RunWithoutLeaks(m)) }

// bed is one test's corner with a target.
type bed struct {
	testservers.Corner
	target *target.Target
}

// today is the day that tests write to.
const today = node.Day(20_000)

func bedIn(c testservers.Corner) bed { return bed{c, open(c, c.URL)} }

// open opens a target for a corner, at a URL that leads to its server.
func open(c testservers.Corner, url string) *target.Target {
	c.T.Helper()
	to, err := target.Open(c.T.Context(), target.Config{
		Config: cluster.Config{URLs: []string{url}, Patience: 20 * time.Second},
		Backend: target.Backend{
			Alias: c.Name, Template: c.Name, Index: c.Name + "-{date}", Pattern: c.Name + "-*", Codec: "best_compression", Shards: 1,
		},
	})
	if err != nil {
		c.T.Fatalf("%v\n%s", err, hint.Of(err))
	}
	c.T.Cleanup(to.Close)
	return to
}

// through opens a target for a corner behind a proxy.
func through(c testservers.Corner, rule faulty.Rule) *target.Target {
	c.T.Helper()
	server, err := url.Parse(c.URL)
	if err != nil {
		c.T.Fatal(err)
	}
	return open(c, faulty.NewHTTPProxy(c.T, server.Host, rule).URL())
}
