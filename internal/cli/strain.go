package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// strainLimits are from where on reading is a burden for others at the source.
type strainLimits struct {
	lag         time.Duration // of a standby that hangs on it
	transaction time.Duration // of this tool: what is deleted meanwhile cannot be cleaned up
	sessions    float64       // of those that the server has
	patience    time.Duration // for one of them: what lasts longer without any reading is not caused by it
}

func defaultStrainLimits() strainLimits {
	return strainLimits{lag: time.Minute, transaction: 5 * time.Minute, sessions: 0.95, patience: 10 * time.Minute}
}

// strainWatch judges what one look after the other at a source shows. A standby's lag
// is measured here, by what the server had written so long ago: the server's own
// figure stands still while a standby replays nothing.
type strainWatch struct {
	limits strainLimits
	warn   func(text string)

	written []position           // one for each look, back to the last that is older than the lag
	current map[string]bool      // standbys that kept up in this run: one that never did is behind for its own reasons
	since   map[string]time.Time // from when on something was held for; zero: in vain
	hidden  bool                 // it was told that standbys cannot be seen
}

type position struct {
	at    time.Time
	bytes int64
}

func newStrainWatch(limits strainLimits, warn func(string)) *strainWatch {
	return &strainWatch{limits: limits, warn: warn, current: make(map[string]bool), since: make(map[string]time.Time)}
}

// look says why the source is to be left alone for now, or "".
func (w *strainWatch) look(ctx context.Context, from *source.Source) (string, error) {
	s, err := from.Strain(ctx)
	if err != nil {
		return "", err
	}
	return w.judge(s, time.Now()), nil
}

func (w *strainWatch) judge(s source.Strain, now time.Time) string {
	if s.Hidden && !w.hidden {
		w.hidden = true
		w.warn("the role may not see how far the source's standbys are, so that one that falls behind holds nothing back: GRANT pg_monitor shows them")
	}
	causes := w.lagging(s, now)
	if oldest := time.Duration(s.Oldest) * time.Microsecond; oldest > w.limits.transaction {
		causes["transaction"] = fmt.Sprintf("a transaction of this tool has been open at the source for %s", oldest.Round(time.Second))
	}
	if s.Most > 0 && float64(s.Sessions) > w.limits.sessions*float64(s.Most) {
		causes["sessions"] = fmt.Sprintf("%d of the source's %d sessions are taken", s.Sessions, s.Most)
	}
	return w.first(causes, now)
}

// lagging are the standbys that have not replayed yet what the server had written so
// long ago.
func (w *strainWatch) lagging(s source.Strain, now time.Time) map[string]string {
	w.written = append(w.written, position{now, s.Written})
	for len(w.written) > 1 && now.Sub(w.written[1].at) >= w.limits.lag {
		w.written = w.written[1:]
	}
	causes := make(map[string]string)
	for _, standby := range s.Standbys {
		switch old := w.written[0]; {
		case standby.Replayed >= old.bytes:
			w.current[standby.Name] = true
		case w.current[standby.Name] && now.Sub(old.at) >= w.limits.lag:
			causes["standby "+standby.Name] = fmt.Sprintf("standby %s is more than %s and %s behind the source", standby.Name, w.limits.lag, amount.Size(s.Written-standby.Replayed))
		}
	}
	return causes
}

// first is a cause that is still worth waiting for.
func (w *strainWatch) first(causes map[string]string, now time.Time) (cause string) {
	over := func(name string, _ time.Time) bool { return causes[name] == "" }
	maps.DeleteFunc(w.since, over)
	for _, name := range slices.Sorted(maps.Keys(causes)) {
		since, known := w.since[name]
		switch {
		case !known:
			w.since[name] = now
		case since.IsZero():
			continue // in vain already
		case now.Sub(since) > w.limits.patience:
			w.since[name] = time.Time{}
			w.warn(fmt.Sprintf("%s, after nothing was read for %s: that has another reason, and is not waited for any more", causes[name], w.limits.patience))
			continue
		}
		cause = cmp.Or(cause, causes[name])
	}
	return cause
}

// watchStrain holds requests back, and by that reading, while the source is to be left
// alone, until ctx ends.
func watchStrain(ctx context.Context, g *governor.Governor, from *source.Source, warn func(text string)) {
	watch := newStrainWatch(defaultStrainLimits(), warn)
	look := func(ctx context.Context, _ bool) (string, error) { return watch.look(ctx, from) }
	g.Watch(ctx, "source", look, func(err error) {
		warn("what others feel at the source is not watched, so that it holds nothing back: " + err.Error())
	})
}
