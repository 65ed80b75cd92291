// Package orderly ends work that is asked to stop. What is open may come to its
// end for a while; then nothing is waited for any more.
package orderly

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Stop is how work is asked to stop.
type Stop struct {
	Asked <-chan struct{} // closed when it is to stop; nil: never
	Grace time.Duration   // for what is open then
	Err   error           // of work that did not come to its end
}

// Run runs work on a context that ends when the grace of a stop is over.
func Run(ctx context.Context, s Stop, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.Asked:
			_ = Sleep(ctx, s.Grace) // it ends early when the work does
			cancel(s.Err)
		case <-ctx.Done():
		}
	})
	err := work(ctx)
	cancel(nil)
	watching.Wait()
	if err != nil && errors.Is(context.Cause(ctx), s.Err) {
		return s.Err
	}
	return err
}

// Sleep pauses, and ends early with the context.
func Sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Backoff is how long to wait before something is tried again: it doubles with
// each try from half a second to 30 s, half of it by chance.
func Backoff(try int) time.Duration {
	ceiling := min(250*time.Millisecond<<min(try, 10), 30*time.Second)
	return ceiling/2 + rand.N(ceiling/2)
}
