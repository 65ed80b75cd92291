package orderly_test

import (
	"context"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/orderly"
)

func TestEveryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ticks := 0
	orderly.Every(ctx, time.Millisecond, func(time.Time) {
		if ticks++; ticks == 3 {
			cancel()
		}
	})
	if ticks < 3 {
		t.Errorf("%d ticks", ticks)
	}
}

// What is under way when it is to stop comes to its end first.
func TestTickingWaitsForItsWork(t *testing.T) {
	t.Parallel()
	begun, release, ended := make(chan struct{}), make(chan struct{}), false
	stop := orderly.Ticking(time.Millisecond, func(time.Time) {
		if !ended {
			close(begun)
			<-release
			ended = true
		}
	})
	<-begun
	time.AfterFunc(10*time.Millisecond, func() { close(release) })
	stop()
	if !ended {
		t.Error("it is stopped in the middle of its work")
	}
}
