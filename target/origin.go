package target

import (
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Origin is where the nodes of an index come from. It is kept in the `_meta`
// of every index that the tool creates.
type Origin struct {
	node.Origin
	// Shared: Sentry may write to the index as well.
	Shared bool `json:"shared,omitempty"`
}

// metaKey is the key of Origin in a mapping's `_meta`.
const metaKey = "nodestore_migrate"

// Same reports whether two origins are one source. The system identifier and
// the region may be unknown on one side; then the other of them has to agree,
// because databases and tables are called the same everywhere. Who else may
// write to an index does not matter.
func (o Origin) Same(other Origin) bool {
	o.Shared, other.Shared = false, false
	if o == other {
		return true
	}
	if o.Database != other.Database || o.Table != other.Table {
		return false
	}
	agreed := false
	for _, pair := range [][2]string{{o.System, other.System}, {o.Region, other.Region}} {
		if pair[0] == "" || pair[1] == "" {
			continue
		}
		if pair[0] != pair[1] {
			return false
		}
		agreed = true
	}
	return agreed
}

// String names an origin for a message.
func (o Origin) String() string {
	text := fmt.Sprintf("database %s, table %s", o.Database, o.Table)
	if o.Region != "" {
		text = "region " + o.Region + ", " + text
	}
	if o.System != "" {
		text += ", server " + o.System
	}
	return text
}

// Origins are a source, and what it was before it moved to another server.
type Origins []Origin

// Have reports whether an origin is one of them.
func (o Origins) Have(origin Origin) bool { return slices.ContainsFunc(o, origin.Same) }
