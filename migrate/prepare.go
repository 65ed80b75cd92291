package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// prepareTarget has the template there, and refuses a target that could not hold or
// give back what is copied, or that another region fills.
func (m *Migration) prepareTarget(ctx context.Context) error {
	t := m.parts.Target
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
		m.options.Notify(Event{Kind: Template, Index: backend.Template})
	}
	if backend.Prefixed() {
		m.options.Notify(Event{Kind: Warning, Cause: fmt.Sprintf(
			"the backend's cleanup cannot read the date of indices named %s and never removes them: remove old ones yourself", backend.Index)})
	}
	if err := t.CheckContract(ctx, today); err != nil {
		return err
	}
	var origins target.Origins
	m.parts.Checkpoint.View(func(state *checkpoint.State) { origins = Origins(state.Binding) })
	return t.CheckOrigin(ctx, origins)
}
