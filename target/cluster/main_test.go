package cluster

import (
	"os"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// TestMain also finds goroutines that outlive a connection: every test closes its own.
func TestMain(m *testing.M) { os.Exit(testservers.RunWithoutLeaks(m)) }
