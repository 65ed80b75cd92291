package inspect

import (
	"os"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target/targettest"
)

// TestMain also finds goroutines that outlive a target: every test closes its own.
func TestMain(m *testing.M) { os.Exit(testservers.RunWithoutLeaks(m)) }

// bed is one test's corner with a target.
type bed struct{ targettest.Bed }

// today is the day that tests write to.
const today = targettest.Today

func bedIn(c testservers.Corner) bed { return bed{targettest.In(c, 1)} }
