package verify_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// TestStopsInTheMiddleOfADay that would take minutes yet, and resumes with that day.
func TestStopsInTheMiddleOfADay(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	for name, stall := range map[string]struct{ begin, end func(*world) }{
		"the source waits for a lock": {
			func(w *world) { w.exec("begin; lock table nodestore_node in access exclusive mode") },
			func(w *world) { w.exec("rollback") },
		},
		"the target is silent": {func(*world) { silent.Store(true) }, func(*world) { silent.Store(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 90, synth.Clean())
			w.through(func(*http.Request, int) faulty.Fault {
				if silent.Load() && name == "the target is silent" {
					return faulty.Fault{Delay: time.Minute}
				}
				return faulty.Fault{}
			})
			begun, stop := 0, make(chan struct{})
			o := w.options(verify.IDs)
			o.Stop, o.Notify = stop, func(e verify.Event) {
				if e.Kind != verify.DayStarted {
					return
				}
				if begun++; begun == 2 {
					stall.begin(w)
					close(stop)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := verify.New(w.parts, o).Run(ctx); !errors.Is(err, verify.ErrInterrupted) || ctx.Err() != nil {
				t.Errorf("the run ended with %v", err)
			}
			stall.end(w)
			begun, o = 0, w.options(verify.IDs)
			o.Notify = func(e verify.Event) {
				if e.Kind == verify.DayStarted {
					begun++
				}
			}
			if r := w.verify(o); begun != days-1 || r.Findings.Total != 0 {
				t.Errorf("%d days compared after the stop, findings %v", begun, w.listed())
			}
		})
	}
}
