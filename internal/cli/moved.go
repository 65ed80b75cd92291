package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// bind returns what the checkpoint is to be bound to. A source on another server,
// or under another name, is refused with what changed and what did not, unless
// --source-moved confirms that it has the same data and some days show it.
func (c *migrateCommand) bind(ctx context.Context, s *session) (checkpoint.Binding, error) {
	here := s.binding(c.Region)
	state, err := readState(ctx, c.Checkpoint, s.Target)
	if err != nil {
		//lint:ignore nilerr there is none yet, or opening it says what is wrong with it
		return here, nil
	}
	if c.RestoreSettings {
		here.Source = state.Binding.Source // the settings are the target's
		return here, nil
	}
	_, err = state.Binding.Accept(here)
	confirmed := here
	confirmed.Moved = true
	if _, otherwise := state.Binding.Accept(confirmed); err == nil || otherwise != nil {
		//lint:ignore nilerr the same, or not only moved: opening the checkpoint refuses it
		return here, nil
	}
	seen, err := migrate.Sight(ctx, s.Source, s.Target, state)
	if err != nil {
		return here, fmt.Errorf("compare the source with what was copied from another server: %w", err)
	}
	agree := len(seen) == 0 || slices.ContainsFunc(seen, func(d migrate.Sighting) bool { return d.Agree })
	if agree && c.SourceMoved {
		return confirmed, nil
	}
	remedy := "give the source of the first run: these are not the rows that were copied, so it cannot be taken for the same data that moved"
	if agree {
		remedy = "if this is the same data after a restore, an upgrade or a switch-over, confirm that with migrate --source-moved: days that agree are kept; else give the source of the first run, or another --checkpoint and --alias"
	}
	return here, hint.Add(fmt.Errorf("the checkpoint is bound to another source: %s", movedText(s, state.Binding.Source, seen)), remedy)
}

// movedText says what changed between the source of a checkpoint and that of a
// session, and what did not.
func movedText(s *session, before checkpoint.Source, seen []migrate.Sighting) string {
	now := s.Source.Identity()
	var changed, same []string
	for _, f := range [][3]string{
		{"system identifier", before.System, now.System}, {"database", before.Database, now.Database}, {"table", before.Table, now.Table},
	} {
		if f[1] == f[2] || f[2] == "" {
			same = append(same, f[0]+" "+f[1])
			continue
		}
		changed = append(changed, fmt.Sprintf("%s %s, now %s", f[0], f[1], f[2]))
	}
	server, _, _ := strings.Cut(s.Source.Relation().ServerText, " on ")
	text := "changed: " + strings.Join(changed, "; ") + " (" + server + ")"
	if len(same) > 0 {
		text += "; not changed: " + strings.Join(same, ", ")
	}
	for _, d := range seen {
		agree := "differs"
		if d.Agree {
			agree = "agrees"
		}
		text += fmt.Sprintf("; day %s %s: %s rows, %s of them rejected, %s documents", d.Day, agree, count(d.Rows), count(d.Rejected), count(d.Documents))
	}
	return text
}

// recordMove makes a move durable. A verification of what was before it is not resumed.
func (s *session) recordMove(ctx context.Context) error {
	if !s.bound.Moved {
		return nil
	}
	return s.Checkpoint.Update(ctx, func(state *checkpoint.State) {
		if state.Verify != nil {
			state.Verify.Complete = true
		}
	})
}
