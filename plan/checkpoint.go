package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// earlier is the checkpoint of an earlier run.
type earlier struct{ *run }

// check reads the checkpoint of an earlier run, if there is one,
// without its lock.
func (r *earlier) check(ctx context.Context) {
	place := r.config.Checkpoint
	if place.OnTarget && r.target == nil {
		r.unknown(Checkpoint, "checkpoint", place.Name+" is on the target, which could not be asked", "")
		return
	}
	state, err := place.Read(ctx, r.target)
	if errors.Is(err, fs.ErrNotExist) {
		r.ok(Checkpoint, "checkpoint", place.Name+" is not there: a first run")
		return
	}
	if err != nil {
		r.refuseUnlessHidden(Checkpoint, "checkpoint", err, "whether there was an earlier run is not known")
		return
	}
	r.state = &state
	if r.source != nil && r.target != nil {
		if err := r.checkBinding(); err != nil {
			r.refuse(Checkpoint, "binding", fmt.Errorf("open checkpoint: %w", err))
			return
		}
	}
	r.ok(Checkpoint, "checkpoint", fmt.Sprintf("%s: %d days, begun %s UTC", place.Name, len(state.Days), state.Started.Format("2006-01-02 15:04")))
	if len(state.Borrowed) > 0 {
		r.add(Check{
			Side: Checkpoint, Name: "borrowed_settings", State: Warning, Lever: RestoreSettings,
			Detail: fmt.Sprintf("%d indices still have the settings of a load", len(state.Borrowed)),
			Remedy: "run migrate to resume, or have it only give them back",
		})
	}
}

// checkBinding asks package checkpoint whether a run would be accepted.
func (r *earlier) checkBinding() error {
	to, backend := r.target.Identity(), r.target.Backend()
	_, err := r.state.Binding.Accept(checkpoint.Binding{
		Source: r.source.Origin(r.config.Region),
		Target: checkpoint.Target{Cluster: to.ClusterUUID, Alias: backend.Alias, Index: backend.Index},
	})
	return err
}
