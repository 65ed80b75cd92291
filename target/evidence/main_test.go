package evidence

import (
	"net/http"
	"os"
	"testing"
	"time"

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

func (b bed) index() string { return b.target.Backend().IndexOf(today) }

func bedIn(c testservers.Corner) bed { return bed{c, openFor(c, c.URL, 20*time.Second)} }

func openFor(c testservers.Corner, url string, patience time.Duration) *target.Target {
	c.T.Helper()
	to, err := target.Open(c.T.Context(), target.Config{
		Config: cluster.Config{URLs: []string{url}, Patience: patience},
		Backend: target.Backend{
			Alias: c.Name, Template: c.Name, Index: c.Name + "-{date}", Pattern: c.Name + "-*", Codec: "best_compression", Shards: 2,
		},
	})
	if err != nil {
		c.T.Fatalf("%v\n%s", err, hint.Of(err))
	}
	c.T.Cleanup(to.Close)
	return to
}

// noon is a timestamp on today, in milliseconds since 1970.
const noon = int64(today)*86_400_000 + 43_200_000

// plain writes the template and creates the index of today as Sentry would.
func (b bed) plain() target.Index {
	b.T.Helper()
	if _, err := b.target.EnsureTemplate(b.T.Context()); err != nil {
		b.T.Fatal(err)
	}
	b.Must(http.MethodPut, "/"+b.index(), "")
	index, ok, err := b.target.Daily(b.T.Context(), today)
	if err != nil || !ok {
		b.T.Fatalf("daily index %s: found %v, %v", b.index(), ok, err)
	}
	return index
}

// put writes a document of noon, visible at once.
func (b bed) put(index, id string) {
	b.T.Helper()
	b.Must(http.MethodPut, "/"+index+"/_doc/"+id+"?refresh=true", `{"data":"x","timestamp":"2024-10-04T12:00:00Z"}`)
}
