package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// checkCheckpoint reads the checkpoint of an earlier run, if there is one,
// without its lock.
func (m *maker) checkCheckpoint(ctx context.Context) {
	place := m.config.Checkpoint
	if place.OnTarget && m.target == nil {
		m.add(Check{Checkpoint, "checkpoint", Unknown, place.Name + " is on the target, which could not be asked", ""})
		return
	}
	state, err := place.Read(ctx, m.target)
	if errors.Is(err, fs.ErrNotExist) {
		m.ok(Checkpoint, "checkpoint", place.Name+" is not there: a first run")
		return
	}
	if err != nil {
		m.judge(Checkpoint, "checkpoint", err, "whether there was an earlier run is not known")
		return
	}
	m.state = &state
	if m.source != nil && m.target != nil {
		if err := m.checkBinding(ctx); err != nil {
			m.refuse(Checkpoint, "binding", err)
			return
		}
	}
	m.ok(Checkpoint, "checkpoint", fmt.Sprintf("%s: %d days, begun %s UTC", place.Name, len(state.Days), state.Started.Format("2006-01-02 15:04")))
	if len(state.Borrowed) > 0 {
		m.add(Check{
			Checkpoint, "borrowed_settings", Warning, fmt.Sprintf("%d indices still have the settings of a load", len(state.Borrowed)),
			"run migrate to resume, or migrate --restore-settings to give them back now",
		})
	}
}

// checkBinding asks package checkpoint whether a run would be accepted.
func (m *maker) checkBinding(ctx context.Context) error {
	document, err := json.Marshal(m.state)
	if err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}
	from, to, backend := m.source.Identity(), m.target.Identity(), m.target.Backend()
	opened, err := checkpoint.Open(ctx, reader{document}, checkpoint.Binding{
		Source: checkpoint.Source{System: from.System, Database: from.Database, Table: from.Table, Region: m.config.Region},
		Target: checkpoint.Target{Cluster: to.ClusterUUID, Alias: backend.Alias, Index: backend.Index},
	})
	if err != nil {
		return err
	}
	return opened.Close()
}

// reader is a checkpoint's medium that cannot be written to.
type reader struct{ document []byte }

func (r reader) Read(context.Context) ([]byte, error) { return r.document, nil }

func (r reader) Write(context.Context, []byte) error {
	return errors.New("a plan writes no checkpoint")
}

func (r reader) Close() error { return nil }
