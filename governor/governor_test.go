package governor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mebibyte = 1 << 20

// cluster is a model of what a cluster takes: capacity requests at its full
// speed, and no more however many are under way.
func cluster(g *Governor, workers, capacity int, until time.Duration) (total int64) {
	var mu sync.Mutex
	var running sync.WaitGroup
	active := 0
	end := time.Now().Add(until)
	for range workers {
		running.Go(func() {
			for time.Now().Before(end) {
				if g.Enter(context.Background(), g.BatchBytes()) != nil {
					return
				}
				mu.Lock()
				active++
				share := max(active, capacity)
				mu.Unlock()
				began := time.Now()
				// A request has a fixed cost besides that of its bytes.
				cost := 20*time.Millisecond + 80*time.Millisecond*time.Duration(g.BatchBytes())/(8*mebibyte)
				time.Sleep(cost * time.Duration(share) / time.Duration(capacity))
				mu.Lock()
				active--
				total += int64(g.BatchBytes())
				mu.Unlock()
				g.Leave(g.BatchBytes(), time.Since(began))
			}
		})
	}
	running.Wait()
	return total
}

func TestSendersRiseWhileThroughputDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limits: Limits{Senders: 16}, BatchBytes: 8 * mebibyte})
		cluster(g, 16, 6, time.Minute)
		if got := g.State().Senders; got < 6 || got > 8 {
			t.Errorf("%d senders for a cluster that gains up to 6", got)
		}
	})
}

func TestPushBackLowersAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limits: Limits{Senders: 8}, BatchBytes: 8 * mebibyte})
		cluster(g, 8, 8, time.Minute)
		before := g.State()
		for range 20 {
			g.PushedBack()
		}
		low := g.State()
		if low.Senders != 1 || low.BatchBytes != mebibyte {
			t.Errorf("after push-backs %d senders and %d bytes, want 1 and %d", low.Senders, low.BatchBytes, mebibyte)
		}
		cluster(g, 8, 8, 10*time.Minute)
		if after := g.State(); after.Senders != before.Senders || after.BatchBytes != before.BatchBytes {
			t.Errorf("it did not recover: %+v, before %+v", after, before)
		}
	})
}

func TestNeverMoreThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limits: Limits{Senders: 3}, BatchBytes: mebibyte})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if s := g.State(); s.Active > 3 {
					t.Errorf("%d requests under way, 3 allowed", s.Active)
				}
				select {
				case <-t.Context().Done():
					return
				case <-time.After(time.Millisecond):
				}
				if g.State().Limits.Senders == 1 {
					return
				}
			}
		}()
		cluster(g, 10, 2, 10*time.Second)
		g.setLimits(Limits{Senders: 1})
		<-done
	})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limits: Limits{Senders: 8, MBPerSecond: 5}, BatchBytes: mebibyte})
		total := cluster(g, 8, 8, time.Minute)
		if speed := float64(total) / 1e6 / 60; speed < 4.5 || speed > 5.5 {
			t.Errorf("%.1f MB/s, want 5", speed)
		}
	})
}

func TestPausedUntilResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []string
		g := New(Options{Limits: Limits{Senders: 2, Paused: true}, BatchBytes: mebibyte, Told: func(c string) { causes = append(causes, c) }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Enter(ctx, mebibyte); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a paused governor lets through: %v", err)
		}
		entered := make(chan error)
		go func() { entered <- g.Enter(t.Context(), mebibyte) }()
		synctest.Wait()
		g.setLimits(Limits{Senders: 2})
		if err := <-entered; err != nil {
			t.Error(err)
		}
		if got := strings.Join(causes, "|"); got != "paused by the operator|" {
			t.Errorf("told %q", got)
		}
	})
}

func TestDisksHoldAndRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		g := New(Options{Limits: Limits{Senders: 2}, BatchBytes: mebibyte, Told: func(c string) { told = append(told, c) }})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var asked []bool
		causes := []string{"", "node-2's disk is full", "node-2's disk is full", ""}
		g.Watch(ctx, "disk", func(_ context.Context, held bool) (string, error) {
			asked = append(asked, held)
			if len(asked) == len(causes) {
				cancel()
			}
			return causes[len(asked)-1], nil
		}, func(err error) { t.Error(err) })
		if want := []bool{false, false, true, true}; !slices.Equal(asked, want) {
			t.Errorf("it was held back %v, want %v", asked, want)
		}
		if want := []string{causes[1], ""}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

func TestWatchTellsOnceOfWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limits: Limits{Senders: 2}, BatchBytes: mebibyte})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		told := 0
		g.Watch(ctx, "disk", func(context.Context, bool) (string, error) { return "", errors.New("403") }, func(error) { told++ })
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

func TestControlFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "control")
		given := Limits{Senders: 8, MBPerSecond: 50}
		g := New(Options{Limits: given, BatchBytes: mebibyte})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var errs []error
		go g.WatchFile(ctx, path, func(_ Limits, err error) {
			if err != nil {
				errs = append(errs, err)
			}
		})
		for _, step := range []struct {
			content string
			want    Limits
			errors  int
		}{
			{"paused = true\nsenders=2\n", Limits{Senders: 2, MBPerSecond: 50, Paused: true}, 0},
			{"# back to work\nmax-mb-per-second = 20.5\n", Limits{Senders: 8, MBPerSecond: 20.5}, 0},
			{"speed = 9\n", Limits{Senders: 8, MBPerSecond: 20.5}, 1},
			{"senders = 0\n", Limits{Senders: 8, MBPerSecond: 20.5}, 2},
			{"senders = 16\n", Limits{Senders: 8, MBPerSecond: 50}, 2},
		} {
			if err := os.WriteFile(path, []byte(step.content), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * controlInterval)
			synctest.Wait()
			if got := g.Limits(); got != step.want || len(errs) != step.errors {
				t.Errorf("%q: limits %+v and %d errors, want %+v and %d", step.content, got, len(errs), step.want, step.errors)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * controlInterval)
		synctest.Wait()
		if got := g.Limits(); got != given {
			t.Errorf("without the file: %+v, want %+v", got, given)
		}
	})
}
