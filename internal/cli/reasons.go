package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// reasons are those for which a node can be rejected.
func reasons() []node.Reason {
	return []node.Reason{
		node.NullData, node.Empty, node.Pickle, node.CorruptBase64, node.CorruptZlib, node.NotJSON,
		target.ReasonID, target.ReasonTooLarge, target.ReasonRefused, migrate.ReasonTimestamp, migrate.ReasonUnreadable,
	}
}

// reasonsValue is a list of reasons.
type reasonsValue struct {
	list []node.Reason
	checked
}

// UnmarshalText adds reasons that are separated by commas; all stands for every one.
func (v *reasonsValue) UnmarshalText(text []byte) error {
	return v.read(text, func(text string) error {
		known := reasons()
		for name := range strings.SplitSeq(text, ",") {
			switch reason := node.Reason(strings.TrimSpace(name)); {
			case reason == "all":
				v.list = known
			case !slices.Contains(known, reason):
				return fmt.Errorf("%q is not a reason; there are %s, and all", name, joinedReasons(known))
			default:
				v.list = append(v.list, reason)
			}
		}
		return nil
	})
}

func joinedReasons(reasons []node.Reason) string {
	names := make([]string, len(reasons))
	for i, reason := range reasons {
		names[i] = string(reason)
	}
	return strings.Join(names, ", ")
}

// acceptFlag gives nodes up.
type acceptFlag struct {
	AcceptRejected reasonsValue `help:"Reasons for which rejected nodes are given up, such as pickle, or all." env:"NODESTORE_ACCEPT_REJECTED" placeholder:"REASON,..."`
}
