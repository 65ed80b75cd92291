package migrate_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// childVariable makes this binary the tool itself: a run that is killed has to
// be a process of its own, and this one has the race detector when the tests do.
const childVariable = "NODESTORE_TEST_CHILD"

// TestMain also finds goroutines that outlive a migration.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(cli.Main())
	}
	code := testservers.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
