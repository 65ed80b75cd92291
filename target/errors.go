package target

import (
	"errors"

	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// The mistakes in how the backend's names are configured, and in what is migrated.
const (
	NoDate      cluster.Mistake = "no date in the index's name"
	NotBehind   cluster.Mistake = "not behind the alias"  // is what would be named like a daily index
	NotConcrete cluster.Mistake = "an alias for an index" // is named like a daily index
	OtherOrigin cluster.Mistake = "filled from elsewhere" // is what is behind the alias
)

// ErrDropped means that a daily index went away while it was being filled.
var ErrDropped = errors.New("the daily index is gone")

// ErrExists means that somebody else created a daily index first.
var ErrExists = errors.New("the daily index is there already")

// IsGone reports whether an index or alias does not exist, by OpenSearch's own
// word. Any other 404 is not an answer to that.
func IsGone(err error) bool { return cluster.IsMissing(err) || errors.Is(err, ErrDropped) }
