package target

import (
	"context"
	"fmt"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

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

// CheckOrigin makes sure that all that this tool made behind the alias came
// from the same source as this run's nodes, whichever machine and checkpoint
// it was made with (promise 9). Indices that Sentry made have no origin and
// are not asked.
func (t *Target) CheckOrigin(ctx context.Context, origins Origins) error {
	existing, err := t.behindAlias(ctx)
	if err != nil {
		return err
	}
	for _, index := range existing {
		if index.Origin != nil && !origins.Have(*index.Origin) {
			return t.otherOrigin(index, origins[0])
		}
	}
	return nil
}

func (t *Target) otherOrigin(index Index, origin Origin) error {
	return hint.Add(fmt.Errorf("index %s behind alias %s was filled from %s: this run reads %s", index.Name, t.config.Backend.Alias, index.Origin, origin),
		"documents do not say which region they are from, so one region goes to one alias: give this source an alias and an index prefix of its own, "+
			"or a cluster of its own. If it is the same data under another name or server, run migrate --source-moved with the --checkpoint that they were filled with, "+
			"or remove the indices that were filled before")
}
