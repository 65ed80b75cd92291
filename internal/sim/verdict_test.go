package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// over is a switch that is over: a run has ended that began when every
// transaction of before was.
func (s scene) over() {
	s.t.Helper()
	s.happen(step{do: flip}, passed(20*time.Minute), step{do: migrate})
}

// safe wants the verdict to be safe, or not, sampled and in full; judge has
// compared it with what Sentry reads.
func (s scene) safe(want bool) {
	s.t.Helper()
	for _, full := range []bool{false, true} {
		s.happen(step{do: check, run: run{full: full}})
		if s.verdict.SafeToDrop != want {
			s.t.Errorf("safe is %t, in full %t: %s; %q", s.verdict.SafeToDrop, full, s.verdict.Sentence, s.verdict.Because)
		}
	}
}

func struck(id int) step               { return step{do: mistake, id: id} }
func faulted(n int, f faulty) step     { return during(n, before, step{do: fault, fault: f}) }
func copiedAgain() step                { return step{do: migrate, run: run{again: true}} }
func secondly() step                   { return step{do: migrate, run: run{second: true}} }
func ago(id int, d time.Duration) step { return step{do: straggle, id: id, span: d} }

func TestVerdict(t *testing.T) {
	t.Run("all is well", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), now(3), step{do: migrate})
		s.safe(false)
		s.over()
		s.happen(now(1), now(4))
		s.safe(false) // Sentry finds two documents of the one that it rewrote
		s.happen(step{do: migrate})
		s.safe(true)
	})
	t.Run("there is no index yet", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(step{do: migrate}, now(1))
		s.safe(false)
	})
	t.Run("Sentry rewrites a node whose row is dated after that", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, -time.Minute), old(2, -time.Hour), step{do: migrate}, step{do: flip}, now(1), now(2))
		s.over()
		s.safe(true)
	})
	t.Run("an index is dropped by mistake", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), old(3, 3*day), step{do: migrate}, struck(1), step{do: migrate})
		s.over()
		s.safe(false)
		s.happen(copiedAgain())
		s.sees(1, 2*day)
		s.safe(true)
	})
	t.Run("an index is dropped by mistake after the switch", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), old(3, 3*day), step{do: migrate})
		s.over()
		s.happen(struck(1))
		s.safe(false)
		s.happen(step{do: migrate})
		s.safe(false)
	})
	t.Run("the rows of a day, and then all, are deleted after the switch", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 2*day), old(2, day), old(3, 3*day), step{do: migrate})
		s.over()
		s.happen(step{do: empty, id: 1}, step{do: migrate})
		s.sees(1, 2*day)
		s.happen(step{do: truncate}, step{do: migrate})
		s.sees(2, day)
		s.sees(3, 3*day)
	})
	t.Run("a row of 2038, and what Sentry writes itself", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, day), old(2, -13*365*day), step{do: migrate}, step{do: early, id: 3}, passed(time.Hour), step{do: migrate})
		s.sees(3, 0)
		s.over()
		s.sees(3, 0)
		s.safe(true)
	})
	t.Run("a clock is ahead, then right", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, -2*day), old(2, -time.Hour), old(3, day), step{do: migrate}, passed(time.Minute), now(1), now(2), step{do: migrate})
		s.over()
		s.sees(1, 0)
		s.safe(true)
	})
	t.Run("a clock is ahead, then right, and no run in between", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, -2*day), old(2, day))
		bulk := "POST /" + s.indexOf(node.DayOf(start().Add(2*day).UnixMicro())) + "/_bulk"
		s.gate.watch = func(line string) {
			if line == bulk { // killed before it can note what it wrote
				s.gate.run.crash = crash{s.gate.seen, after}
			}
		}
		s.happen(step{do: migrate})
		if s.gate.watch = nil; !s.gate.dead {
			t.Fatalf("no %s in %q", bulk, s.gate.log)
		}
		s.happen(now(1))
		s.over()
		s.sees(1, 0)
		s.safe(true)
	})
	t.Run("a row goes back to a day of before, after the switch", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, time.Hour), old(2, day), step{do: migrate})
		s.over()
		s.happen(ago(1, 2*day), copiedAgain())
		s.sees(1, 2*day)
		s.safe(true)
	})
	t.Run("rows are committed late", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), old(2, day), step{do: migrate}, passed(time.Hour), old(3, 2*day), old(4, day), step{do: migrate})
		s.sees(3, 2*day)
		s.sees(4, day)
		s.over()
		s.safe(true)
		s.happen(ago(5, 2*day), step{do: migrate})
		s.safe(false)
		s.happen(copiedAgain())
		s.sees(5, 2*day)
		s.safe(true)
	})
	t.Run("indices are not created by writing to them", func(t *testing.T) {
		s := newScene(t, table)
		s.gate.closed = true
		s.happen(old(1, day), now(2), old(3, -day), step{do: migrate})
		s.over()
		s.safe(true)
	})
	t.Run("two operators with two checkpoints", func(t *testing.T) {
		s := newScene(t, table)
		s.happen(old(1, 3*day), old(2, 2*day), old(3, day), now(4))
		for n := 4; n < 40; n += 4 {
			s.happen(during(n, after, secondly()), now(n%ids))
		}
		s.over()
		s.happen(secondly(), step{do: migrate})
		s.safe(true)
	})
	for f := range faults {
		t.Run("an answer is not whole: "+faultNames[f], func(t *testing.T) {
			s := newScene(t, table)
			s.happen(old(1, 3*day), old(2, 2*day), old(3, day), now(4), step{do: migrate}, passed(time.Minute), now(1), now(2))
			for n := 1; n < 30; n += 3 {
				s.happen(faulted(n, f), now(3))
			}
			s.over()
			s.safe(true)
		})
	}
	for what := range spoilages {
		t.Run(fmt.Sprint("something is wrong for Sentry: ", spoilageNames[what]), func(t *testing.T) {
			s := newScene(t, table)
			s.happen(old(1, 3*day), step{do: migrate}, step{do: spoil, spoil: what, id: 1}, old(2, 2*day), step{do: migrate})
			s.over()
			s.safe(false)
		})
	}
}
