package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// prepareTarget has the template there, and refuses a target that could not hold or
// give back what is copied, or that another region fills.
func prepareTarget(ctx context.Context, t *target.Target, origins target.Origins, notify func(Event)) error {
	backend, today := t.Backend(), node.DayOf(time.Now().UnixMicro())
	// A template that does not fit must not be written: nobody changes it later.
	if _, err := t.Preview(ctx, today); err != nil {
		return err
	}
	created, err := t.EnsureTemplate(ctx)
	if err != nil {
		return err
	}
	if created {
		notify(Event{Kind: Template, Index: backend.Template})
	}
	if backend.Prefixed() {
		notify(Event{Kind: Warning, Cause: fmt.Sprintf(
			"the backend's cleanup cannot read the date of indices named %s and never removes them: remove old ones yourself", backend.Index)})
	}
	if err := t.CheckContract(ctx, today); err != nil {
		return err
	}
	return t.CheckOrigin(ctx, origins)
}
