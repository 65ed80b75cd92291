package checkpoint_test

import (
	"path/filepath"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/mediumtest"
)

func TestFileIsAMedium(t *testing.T) {
	t.Parallel()
	mediumtest.Run(t, func(t *testing.T) mediumtest.Open {
		path := filepath.Join(t.TempDir(), "a.checkpoint")
		return func() (checkpoint.Medium, error) { return checkpoint.OpenFile(path) }
	})
}
