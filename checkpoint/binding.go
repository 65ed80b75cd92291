package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Binding is the one source and the one target that a checkpoint belongs to.
// Documents do not say which region they came from, so two regions behind one
// alias could never be told apart again: the binding is fixed by the first run.
type Binding struct {
	Source node.Origin `json:"source"`
	Target Target      `json:"target"`
	// Earlier are the sources that had the same data before it moved to this one.
	Earlier []node.Origin `json:"earlier_sources,omitempty"`
	// Moved, of a run: its source has the same data, on another server or under
	// another name.
	Moved bool `json:"-"`
}

// Target identifies where the nodes go.
type Target struct {
	Cluster string `json:"cluster"` // the cluster's UUID
	Alias   string `json:"alias"`
	Index   string `json:"index"` // the pattern of a daily index's name, such as sentry-{date}
}

// MismatchError says that a checkpoint belongs to another source or target.
type MismatchError struct {
	Field    string // such as "source database"
	Recorded string // the value that the checkpoint is bound to
	Given    string // the value of this run
	Movable  bool   // the same data can have another: Binding.Moved says that it is the same
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("checkpoint is bound to %s %q, this run has %q", e.Field, e.Recorded, e.Given)
}

// Accept compares the binding of a run with the recorded one, and returns the
// recorded one with what only the run knows. What one side does not know is
// not compared: a managed PostgreSQL may refuse its system identifier, and a
// region's database does not hold its own name. A difference is a
// *MismatchError, unless the run says that its source moved.
func (b Binding) Accept(run Binding) (Binding, error) {
	fields := []struct {
		name            string
		recorded, given *string
		mayBeUnknown    bool
	}{
		{"source system", &b.Source.System, &run.Source.System, true},
		{"source database", &b.Source.Database, &run.Source.Database, false},
		{"source table", &b.Source.Table, &run.Source.Table, false},
		{"source region", &b.Source.Region, &run.Source.Region, true},
		{"target cluster", &b.Target.Cluster, &run.Target.Cluster, false},
		{"target alias", &b.Target.Alias, &run.Target.Alias, false},
		{"target index", &b.Target.Index, &run.Target.Index, false},
	}
	before, moved := b.Source, false
	for _, f := range fields {
		if f.mayBeUnknown && *f.recorded == "" {
			*f.recorded = *f.given
		}
		if f.mayBeUnknown && *f.given == "" {
			continue
		}
		movable := strings.HasPrefix(f.name, "source ") && f.name != "source region"
		if *f.recorded == *f.given {
			continue
		}
		if !movable || !run.Moved {
			return b, &MismatchError{f.name, *f.recorded, *f.given, movable}
		}
		*f.recorded, moved = *f.given, true
	}
	if moved {
		b.Earlier = append(slices.Clone(b.Earlier), before)
	}
	return b, nil
}
