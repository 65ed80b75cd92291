package evidence

import (
	"net/http"
	"os"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/targettest"
)

// TestMain also finds goroutines that outlive a target: every test closes its own.
func TestMain(m *testing.M) { os.Exit(testservers.RunWithoutLeaks(m)) }

// bed is one test's corner with a target.
type bed struct{ targettest.Bed }

// today is the day that tests write to.
const today = targettest.Today

func bedIn(c testservers.Corner) bed { return bed{targettest.In(c, 2)} }

// noon is a timestamp on today, in milliseconds since 1970.
const noon = int64(today)*86_400_000 + 43_200_000

// plain writes the template and creates the index of today as Sentry would.
func (b bed) plain() target.Index {
	b.T.Helper()
	if _, err := b.Target.EnsureTemplate(b.T.Context()); err != nil {
		b.T.Fatal(err)
	}
	b.Must(http.MethodPut, "/"+b.Index(), "")
	index, ok, err := b.Target.Daily(b.T.Context(), today)
	if err != nil || !ok {
		b.T.Fatalf("daily index %s: found %v, %v", b.Index(), ok, err)
	}
	return index
}

// put writes a document of noon, visible at once.
func (b bed) put(index, id string) {
	b.T.Helper()
	b.Must(http.MethodPut, "/"+index+"/_doc/"+id+"?refresh=true", `{"data":"x","timestamp":"2024-10-04T12:00:00Z"}`)
}
