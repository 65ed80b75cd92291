package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	tool "github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestSwitch(t *testing.T) {
	t.Run("what Sentry wrote wins on every day", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), old(3, time.Hour), old(4, 2*day), step{do: migrate})
		s.happen(old(3, time.Minute), step{do: flip}, passed(time.Minute), now(1), now(2), now(3), step{do: migrate})
		for id := 1; id <= 3; id++ {
			s.sees(id, 0)
		}
		s.sees(4, 2*day)
		s.finish()
	})
	t.Run("also over a row whose clock was ahead", func(t *testing.T) {
		for name, shape := range map[string]shape{"table": table, "view": view} {
			t.Run(name, func(t *testing.T) {
				s := newScene(t, shape)
				s.happen(old(1, -2*day), old(2, day), step{do: migrate}, step{do: flip}, passed(30*time.Hour), now(1), step{do: migrate})
				s.sees(1, -day)
				s.happen(passed(3*day), step{do: migrate})
				s.sees(1, -day)
				s.finish()
			})
		}
	})
	t.Run("days that are first copied after it", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, 2*day), old(3, time.Hour), step{do: flip}, passed(time.Minute), now(1), now(3))
		s.killedEverywhere(after)
		s.sees(1, 0)
		s.sees(2, 2*day)
		s.finish()
	})
	t.Run("what Sentry deleted does not come back", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), now(2), old(3, -30*time.Second), old(4, time.Minute), step{do: migrate})
		s.happen(step{do: flip}, passed(5*time.Minute), gone(1), gone(2), gone(3), gone(4), step{do: migrate})
		for id := 1; id <= 4; id++ {
			s.sees(id, none)
		}
		s.finish()
	})
	t.Run("back, and once more with another checkpoint", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), old(5, day), step{do: migrate}, step{do: flip}, passed(time.Hour), now(3), step{do: migrate})
		s.model.switched, s.model.settled, s.dir = 0, false, t.TempDir()
		s.happen(passed(time.Hour), now(1), gone(2), step{do: migrate}, step{do: flip}, passed(time.Hour), now(4), step{do: migrate})
		s.sees(1, 0)
		s.sees(2, none)
		s.sees(3, 0)
		s.finish()
	})
	t.Run("a second time is refused", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(now(1), step{do: flip}, step{do: migrate})
		s.model.switched++
		if _, err := s.runTool(run{}); err == nil || !strings.Contains(err.Error(), "the switch is recorded at") {
			t.Errorf("no refusal, but %v", err)
		}
	})
	t.Run("the settings of today and of the day of the switch stay", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), step{do: flip}, now(2))
		s.custom("17s")
		s.happen(old(3, time.Minute), step{do: migrate}, passed(day), now(4))
		s.custom("17s")
		s.killedEverywhere(before)
		s.happen(step{do: migrate})
		for _, ago := range []time.Duration{0, -day} {
			if got := s.refreshInterval(ago); got != "17s" {
				t.Errorf("refresh_interval is %q", got)
			}
		}
		if puts := requests(s.gate.log, "_settings"); puts != 0 {
			t.Errorf("%d changes of settings", puts)
		}
	})
}

// custom sets the refresh interval of today's index, as an operator might.
func (s scene) custom(interval string) {
	s.t.Helper()
	index := s.indexOf(node.DayOf(s.now()))
	if _, err := s.request(s.ctx, http.MethodPut, "/"+index+"/_settings", map[string]string{"index.refresh_interval": interval}, nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s scene) refreshInterval(ago time.Duration) string {
	s.t.Helper()
	var found map[string]struct {
		Settings struct {
			Index struct {
				RefreshInterval string `json:"refresh_interval"`
			}
		}
	}
	index := s.indexOf(node.DayOf(start().Add(-ago).UnixMicro()))
	if _, err := s.request(s.ctx, http.MethodGet, "/"+index+"/_settings", nil, &found); err != nil {
		s.t.Fatal(err)
	}
	return found[index].Settings.Index.RefreshInterval
}

func TestSealing(t *testing.T) {
	t.Run("order", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), step{do: migrate})
		index := s.indexOf(node.DayOf(start().Add(-2 * day).UnixMicro()))
		var steps []string
		for _, line := range s.gate.log {
			name := strings.NewReplacer("nodestore-migrate-"+index, "LOADING", index, "INDEX").Replace(line)
			if strings.Contains(name, "INDEX") || strings.Contains(name, "LOADING") {
				steps = append(steps, name)
			}
		}
		want := []string{
			"PUT /INDEX", "POST /LOADING/_bulk", "POST /INDEX/_refresh", "POST /INDEX/_flush",
			"DELETE /INDEX/_alias/LOADING", "PUT /INDEX/_settings",
		}
		at := 0
		for _, step := range steps {
			if at < len(want) && step == want[at] {
				at++
			}
		}
		if at < len(want) {
			t.Errorf("%s does not come in its turn in %q", want[at], steps)
		}
		s.finish()
	})
	t.Run("killed at each step", func(t *testing.T) {
		for _, side := range []side{before, after} {
			t.Run(side.String(), func(t *testing.T) {
				s := newScene(t, table)
				s.happen(old(1, 2*day), old(2, 3*day))
				s.killedEverywhere(side)
				s.finish()
			})
		}
	})
	t.Run("an index is made late by a run that was killed", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), old(2, day), now(3))
		for n := 1; s.gate.held == nil || !s.gate.held.creates(); n++ {
			s.gate.held = nil
			s.happen(step{do: migrate, run: run{crash: crash{n, late}}})
		}
		s.happen(gone(1), gone(2), step{do: migrate})
		if err := s.settled(); err != nil {
			t.Error(err)
		}
		s.finish()
	})
	t.Run("settings are given back without copying", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, 3*day))
		for n := 1; requests(s.gate.log, "_bulk") == 0; n++ {
			s.happen(step{do: migrate, run: run{crash: crash{n, after}}})
		}
		s.verb = (*tool.Migration).RestoreSettings
		_, err := s.runTool(run{})
		if err == nil {
			err = s.settled()
		}
		if err != nil {
			t.Error(err)
		}
		s.verb = (*tool.Migration).Run
		s.finish()
	})
}

func TestCatchUp(t *testing.T) {
	t.Run("rows that are committed late", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 20*time.Minute), step{do: migrate}, old(2, 14*time.Minute), old(3, -time.Minute), step{do: migrate})
		s.fates(node.Stored, 3)
		s.happen(passed(13*time.Hour), now(4), old(5, 14*time.Minute), step{do: migrate}, step{do: migrate})
		if s.summary.Read != 5 {
			t.Errorf("%d nodes are counted, fates %v", s.summary.Read, s.summary.Fates)
		}
		s.finish()
	})
	t.Run("midnight between two passes", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(now(1), passed(11*time.Hour-time.Minute), now(2), step{do: migrate}, passed(2*time.Minute), old(3, 90*time.Second), now(4))
		s.killedEverywhere(after)
		s.sees(3, 0)
		s.sees(4, -day)
		s.finish()
	})
	t.Run("follows until it was quiet", func(t *testing.T) {
		s := newScene(t, table)
		var passes []int64
		s.adjust = func(o *tool.Options) {
			o.Follow, o.QuietFor = true, time.Second
			o.Notify = func(e tool.Event) {
				if e.Kind != tool.CaughtUp {
					return
				}
				if passes = append(passes, e.Nodes); len(passes) == 1 {
					s.perform(now(2))
					s.perform(passed(time.Minute))
				}
			}
		}
		s.happen(old(1, day), during(1, before, passed(time.Second)))
		if !slices.Equal(passes, []int64{1, 1}) {
			t.Errorf("passes found %v, fates %v", passes, s.summary.Fates)
		}
		s.adjust = nil
		s.finish()
	})
}

// many are rows that the model does not know, written at once.
func (s scene) many(n int, from time.Duration) {
	s.t.Helper()
	_, err := s.sql.Exec(s.ctx, fmt.Sprintf(`insert into %s select 'f' || lpad(to_hex(i), 31, '0'), $1, $2::timestamptz + i * interval '1 ms'
		from generate_series(1, %d) i on conflict (id) do update set "timestamp" = excluded."timestamp"`, s.relation, n),
		encoded("{}\n"), start().Add(-from))
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestCostOfCatchingUp(t *testing.T) {
	s := newScene(t, table)
	s.happen(old(1, 2*day))
	s.many(12_000, 2*day)
	s.happen(step{do: migrate}, passed(time.Hour), now(1), step{do: migrate})
	one := len(s.gate.log)
	s.many(1000, -time.Hour)
	s.happen(passed(time.Minute))
	s.happen(step{do: migrate})
	thousand := len(s.gate.log)
	t.Logf("%d requests after 1 node was rewritten, %d after 1000", one, thousand)
	if s.summary.Run.Nodes != 1000 {
		t.Errorf("%d nodes were sent", s.summary.Run.Nodes)
	}
	s.fates(node.Moved, 1001)
	if thousand > one+12 {
		t.Errorf("%d requests for 1000 rewritten nodes, %d for one: %q", thousand, one, s.gate.log)
	}
}
