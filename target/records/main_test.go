package records

import (
	"os"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target/targettest"
)

// TestMain also finds goroutines that outlive a target: every test closes its own.
func TestMain(m *testing.M) { os.Exit(testservers.RunWithoutLeaks(m)) }

// bed is one test's corner with a target.
type bed struct{ targettest.Bed }

func bedIn(c testservers.Corner) bed { return bed{targettest.In(c, 1)} }

// wantRemedy fails unless an error and its remedy hold these words.
func wantRemedy(t *testing.T, err error, text, remedy string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(hint.Of(err), remedy) {
		t.Errorf("error %v, remedy %q, want %q, %q", err, hint.Of(err), text, remedy)
	}
}
