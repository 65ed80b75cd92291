package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tool "github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// scene is a world whose steps are written down in a test.
type scene struct {
	*world
	t *testing.T
}

func newScene(t *testing.T, shape shape) scene {
	t.Helper()
	t.Parallel()
	w, err := newWorld(t.Context(), newServers(t), setting{shape: shape}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return scene{w, t}
}

// happen lets steps happen.
func (s scene) happen(steps ...step) {
	s.t.Helper()
	for _, step := range steps {
		if s.perform(step); s.failure != nil {
			s.t.Fatalf("%s: %v", step, s.failure)
		}
	}
}

// finish plays the end of a history, with all its comparisons.
func (s scene) finish() {
	s.t.Helper()
	if err := s.end(); err != nil {
		s.t.Fatal(err)
	}
}

// killedEverywhere runs the tool, killed at its first request, then at its
// second, and so on, until a run comes to its end.
func (s scene) killedEverywhere(side side) {
	s.t.Helper()
	for n := 1; ; n++ {
		s.happen(step{do: migrate, run: run{crash: crash{n, side}}})
		if s.gate.seen < n {
			return
		}
	}
}

// fates wants so many nodes to have had a fate by now.
func (s scene) fates(fate node.Fate, want int64) {
	s.t.Helper()
	if got := s.summary.Fates[fate]; got != want {
		s.t.Errorf("%d nodes are %s, want %d; all fates: %v", got, fate, want, s.summary.Fates)
	}
}

// sees wants Sentry to find an id in the index of a day before the start, or nowhere.
func (s scene) sees(id int, ago time.Duration) {
	s.t.Helper()
	seen, err := s.read(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	want := "[]"
	if ago != none {
		want = fmt.Sprint([]string{s.indexOf(node.DayOf(start().Add(-ago).UnixMicro()))})
	}
	if got := fmt.Sprint(seen.indices); got != want {
		s.t.Errorf("id %d is in %s, want %s", id, got, want)
	}
}

// none is where an id is that Sentry does not find.
const none = time.Duration(-1)

func old(id int, ago time.Duration) step     { return step{do: write, id: id, span: ago} }
func now(id int) step                        { return step{do: write, id: id} }
func gone(id int) step                       { return step{do: remove, id: id} }
func passed(d time.Duration) step            { return step{do: wait, span: d} }
func left(id int, before time.Duration) step { return step{do: leave, id: id, span: before} }
func during(n int, side side, act step) step {
	return step{do: migrate, run: run{during: []event{{n, side, act}}}}
}

func requests(log []string, part string) (n int) {
	for _, line := range log {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func TestMovedNodes(t *testing.T) {
	for name, adjust := range map[string]func(*tool.Options){
		"newest day first": func(o *tool.Options) { o.OldestFirst = false },
		"oldest day first": func(o *tool.Options) { o.OldestFirst = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, table)
			s.adjust = adjust
			s.happen(old(1, 2*day), old(2, 2*day), old(3, day), step{do: migrate}, passed(time.Hour))
			s.happen(now(1), step{do: migrate})
			s.sees(1, 0)
			s.sees(2, 2*day)
			s.fates(node.Moved, 1)
			s.finish()
		})
	}
	t.Run("while it is copied", func(t *testing.T) {
		for _, n := range []int{6, 14} {
			t.Run(fmt.Sprint("request ", n), func(t *testing.T) {
				s := newScene(t, table)
				s.happen(old(1, 3*day), old(2, 2*day), old(3, day), during(n, after, now(1)), step{do: migrate})
				s.sees(1, 0)
				s.finish()
			})
		}
	})
	t.Run("killed everywhere", func(t *testing.T) {
		for _, side := range []side{before, after, late} {
			t.Run(side.String(), func(t *testing.T) {
				s := newScene(t, table)
				s.happen(old(1, 2*day), old(2, 2*day), step{do: migrate}, passed(time.Minute), now(1))
				s.killedEverywhere(side)
				s.sees(1, 0)
				s.finish()
			})
		}
	})
	t.Run("killed before its late row is visible", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, 2*day), old(3, time.Hour), step{do: migrate})
		s.custom("1h")
		s.happen(old(1, time.Minute))
		s.killedEverywhere(before)
		s.sees(1, 0)
	})
	t.Run("in several days already", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, day), left(1, day), left(1, 2*day), old(2, 3*day), step{do: migrate})
		s.sees(1, day)
		s.finish()
	})
	t.Run("a view that repeats ids", func(t *testing.T) {
		s := newScene(t, view)
		s.happen(old(1, 3*day), old(1, 2*day), old(1, day), step{do: migrate})
		s.sees(1, day)
		s.finish()
	})
}

func TestVanishedNodes(t *testing.T) {
	t.Run("one of many", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, 2*day), old(3, day), step{do: migrate}, gone(1), step{do: migrate})
		s.sees(1, none)
		s.fates(node.Vanished, 1)
		s.finish()
	})
	t.Run("a whole day stays", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), step{do: migrate}, gone(1), step{do: migrate})
		s.sees(1, 2*day)
		s.happen(step{do: migrate, run: run{obedient: true}})
		s.sees(1, none)
		s.fates(node.Vanished, 1)
		s.finish()
	})
	t.Run("hidden by a deletion at the target", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, day), old(2, day+time.Second), old(3, day), step{do: migrate}, gone(1), step{do: flip}, passed(time.Second), gone(2), step{do: migrate})
		s.sees(1, none)
		s.sees(2, none)
		s.finish()
	})
	t.Run("killed everywhere", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, 2*day), step{do: migrate}, gone(1))
		s.killedEverywhere(after)
		s.sees(1, none)
		s.finish()
	})
	t.Run("copied before its time", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, day), old(2, -time.Minute), step{do: migrate}, gone(2), passed(9*time.Hour))
		s.finish()
	})
	t.Run("an emptied source does not empty the target", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, 2*day), old(3, day), step{do: migrate}, gone(1))
		if _, err := s.runTool(run{}); err == nil || !strings.Contains(err.Error(), "nothing was removed") {
			t.Errorf("no refusal, but %v", err)
		}
		s.sees(1, 2*day)
		s.happen(gone(2), gone(3), step{do: migrate})
		s.sees(2, 2*day)
		s.sees(3, day)
	})
}

func TestDroppedIndexStaysGone(t *testing.T) {
	t.Run("while it is compared", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), old(2, 3*day), old(3, day), step{do: migrate}, step{do: migrate})
		search := "POST /" + s.indexOf(node.DayOf(start().Add(-3*day).UnixMicro())) + "/_search"
		s.happen(during(1+slices.Index(s.gate.log, search), before, step{do: drop}))
		s.sees(1, none)
		s.sees(3, day)
		s.fates(node.Lost, 2)
		s.finish()
	})
	t.Run("as soon as it is made", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), old(3, day))
		oldest := s.indexOf(node.DayOf(start().Add(-3 * day).UnixMicro()))
		s.gate.watch = func(line string) {
			if line == "PUT /"+oldest {
				s.perform(step{do: drop})
			}
		}
		s.happen(step{do: migrate})
		s.gate.watch = nil
		s.sees(1, none)
		s.sees(3, day)
		s.finish()
	})
	t.Run("while late rows are copied", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), old(3, day), step{do: migrate}, passed(time.Minute), now(4))
		s.happen(during(8, before, step{do: drop}), step{do: drop}, step{do: migrate})
		s.sees(1, none)
		s.sees(3, day)
		s.finish()
	})
	t.Run("between two runs", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), step{do: migrate}, passed(time.Minute), step{do: drop})
		s.happen(step{do: migrate}, step{do: migrate})
		s.sees(1, none)
		s.fates(node.Lost, 1)
		s.finish()
	})
}

func TestDroppedIndexIsNotMadeForLateRows(t *testing.T) {
	s := newScene(t, table)
	s.happen(now(1), old(2, day), passed(11*time.Hour+5*time.Minute), step{do: migrate})
	today := node.DayOf(start().UnixMicro())
	s.happen(old(3, 10*time.Minute), passed(14*time.Minute))
	s.model.dropped(today, s.now())
	if err := s.dropIndex(s.ctx, today); err != nil {
		t.Fatal(err)
	}
	s.happen(step{do: migrate})
	s.sees(1, none)
	s.sees(3, none)
	s.finish()
}

func TestLostAnswersDoNotMakeADayShort(t *testing.T) {
	s := newScene(t, table)
	s.happen(now(1), old(2, time.Hour), passed(time.Minute), step{do: migrate}, passed(time.Minute), now(1), passed(time.Minute))
	s.killedEverywhere(after)
	s.happen(passed(day), step{do: migrate})
	if s.summary.Read != 3 || len(s.summary.Lost) > 0 {
		t.Errorf("%d versions of 2 nodes were read, %v is lost", s.summary.Read, s.summary.Lost)
	}
	s.finish()
}

func TestRetention(t *testing.T) {
	s := newScene(t, table)
	s.model.keep = 2 * day
	s.happen(old(1, 4*day), old(2, 4*day), old(3, day), step{do: migrate})
	s.sees(1, none)
	s.sees(3, day)
	s.fates(node.OutOfRetention, 2)
	s.fates(node.Stored, 1)
	s.finish()
}

// TestRepeatedIDInANewDay has a view repeat an id in a day that had no rows, long
// after its timestamp.
func TestRepeatedIDInANewDay(t *testing.T) {
	s := newScene(t, view)
	s.happen(old(0, 61*time.Hour), old(1, 29*time.Hour), passed(9*time.Hour), step{do: migrate})
	s.happen(passed(10*time.Minute), old(0, 3*time.Hour), step{do: migrate})
	s.sees(0, 0)
	s.finish()
}
