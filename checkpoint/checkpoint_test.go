package checkpoint_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// medium wraps a real file: it counts writes, and can hold or refuse them.
type medium struct {
	checkpoint.Medium
	writes int
	before func(write int) error
}

func (m *medium) Write(ctx context.Context, document []byte) error {
	m.writes++
	if err := m.before(m.writes); err != nil {
		return err
	}
	return m.Medium.Write(ctx, document)
}

func newMedium(t *testing.T, before func(write int) error) (*medium, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	m, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return &medium{Medium: m, before: before}, path
}

func mustOpen(t *testing.T, m checkpoint.Medium) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(t.Context(), m, binding)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func mustRead(t *testing.T, path string) checkpoint.State {
	t.Helper()
	state, err := checkpoint.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestResume(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	c, err := openFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	replicas := "1"
	at := time.Now().UTC()
	err = c.Update(t.Context(), func(s *checkpoint.State) {
		s.CopyUntil = 1_700_000_000_000_000
		day := s.Day(node.DayOf(s.CopyUntil))
		*day = checkpoint.Day{
			Index: "sentry-2023-11-14", Planned: 100, Bytes: 90, Sealed: at, Counted: 7,
			Done:  checkpoint.Ranges{{From: 1, To: 2}, {From: 4, To: 9}},
			Fates: node.Fates{node.Stored: 7, node.Rejected: 1},
		}
		s.Borrowed["sentry-2023-11-14"] = checkpoint.Borrowed{
			Settings: map[string]*string{"index.number_of_replicas": &replicas, "index.refresh_interval": nil},
			At:       at,
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var before checkpoint.State
	c.View(func(s *checkpoint.State) { before = *s })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before.Binding, binding) || before.Started.After(at) || before.Saved.Before(at) {
		t.Errorf("binding %v, started %v, saved %v", before.Binding, before.Started, before.Saved)
	}
	if read := mustRead(t, path); !reflect.DeepEqual(read, before) {
		t.Errorf("read %+v, want %+v", read, before)
	}
	c, err = openFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	c.View(func(s *checkpoint.State) {
		if !reflect.DeepEqual(*s, before) {
			t.Errorf("resumed %+v, want %+v", *s, before)
		}
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// While one write is under way, the changes of all others wait for a single
// second write, and no Update returns before the write that has its change.
func TestUpdatesAreWrittenTogether(t *testing.T) {
	t.Parallel()
	const updates = 50
	hold, begun := make(chan struct{}), make(chan struct{})
	m, path := newMedium(t, func(write int) error {
		if write == 2 { // the first is the creation
			close(begun)
			<-hold
		}
		return nil
	})
	c := mustOpen(t, m)
	var applied, returned sync.WaitGroup
	acknowledged := make(chan error, 1+updates)
	update := func(applied func()) {
		acknowledged <- c.Update(context.WithoutCancel(t.Context()), func(s *checkpoint.State) {
			s.Day(0).Bytes++
			applied()
		})
	}
	returned.Go(func() { update(func() {}) })
	<-begun
	applied.Add(updates)
	for range updates {
		returned.Go(func() { update(applied.Done) })
	}
	applied.Wait()
	if n := len(acknowledged); n != 0 {
		t.Errorf("%d updates returned before they were durable", n)
	}
	close(hold)
	returned.Wait()
	close(acknowledged)
	for err := range acknowledged {
		if err != nil {
			t.Error(err)
		}
	}
	if m.writes != 3 {
		t.Errorf("%d writes, want 3", m.writes)
	}
	if state := mustRead(t, path); state.Day(0).Bytes != 1+updates {
		t.Errorf("%d updates recorded, want %d", state.Day(0).Bytes, 1+updates)
	}
}

func TestFailedWriteIsFinal(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	m, path := newMedium(t, func(write int) error {
		if write == 3 {
			return refused
		}
		return nil
	})
	c := mustOpen(t, m)
	increment := func(s *checkpoint.State) { s.Day(0).Bytes++ }
	if err := c.Update(t.Context(), increment); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Update(t.Context(), increment); !errors.Is(err, refused) {
			t.Errorf("update = %v, want the refusal", err)
		}
	}
	if m.writes != 3 {
		t.Errorf("%d writes, want none after the refusal", m.writes)
	}
	if state := mustRead(t, path); state.Day(0).Bytes != 1 {
		t.Errorf("%d updates on the medium, want 1", state.Day(0).Bytes)
	}
	c.View(func(s *checkpoint.State) {
		if s.Day(0).Bytes != 1 {
			t.Errorf("%d updates in view, want 1", s.Day(0).Bytes)
		}
	})
}

func TestFailedWriteFailsAllThatWait(t *testing.T) {
	t.Parallel()
	const updates = 10
	refused := errors.New("refused")
	hold, begun := make(chan struct{}), make(chan struct{})
	m, _ := newMedium(t, func(write int) error {
		if write == 1 {
			return nil
		}
		close(begun)
		<-hold
		return refused
	})
	c := mustOpen(t, m)
	ctx := context.WithoutCancel(t.Context())
	errs := make([]error, 1+updates)
	var applied, returned sync.WaitGroup
	returned.Go(func() { errs[updates] = c.Update(ctx, func(*checkpoint.State) {}) })
	<-begun
	applied.Add(updates)
	for i := range updates {
		returned.Go(func() { errs[i] = c.Update(ctx, func(*checkpoint.State) { applied.Done() }) })
	}
	applied.Wait()
	close(hold)
	returned.Wait()
	for _, err := range errs {
		if !errors.Is(err, refused) {
			t.Errorf("update = %v, want the refusal", err)
		}
	}
}

func TestFailedCreation(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	m, path := newMedium(t, func(int) error { return refused })
	if _, err := checkpoint.Open(t.Context(), m, binding); !errors.Is(err, refused) {
		t.Errorf("open = %v, want the refusal", err)
	}
	if _, err := checkpoint.Read(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read = %v, want no file", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestCancelledUpdate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	m, path := newMedium(t, func(write int) error {
		if write == 2 {
			cancel() // while the change is being written
		}
		return nil
	})
	c := mustOpen(t, m)
	increment := func(s *checkpoint.State) { s.Day(0).Bytes++ }
	if err := c.Update(ctx, increment); err != nil {
		t.Errorf("cancelled after it began: %v", err)
	}
	if err := c.Update(ctx, increment); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
	if state := mustRead(t, path); state.Day(0).Bytes != 1 {
		t.Errorf("%d updates recorded, want 1", state.Day(0).Bytes)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	m, path := newMedium(t, func(int) error { return nil })
	c := mustOpen(t, m)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	err := c.Update(t.Context(), func(*checkpoint.State) { t.Error("a closed checkpoint was changed") })
	if !errors.Is(err, checkpoint.ErrClosed) {
		t.Errorf("update = %v, want ErrClosed", err)
	}
	next, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkUpdate is the rate of durable updates of a half-done migration of
// 90 days, with as many open slices as -cpu says.
func BenchmarkUpdate(b *testing.B) {
	c, err := openFile(b.Context(), filepath.Join(b.TempDir(), "a.checkpoint"))
	if err != nil {
		b.Fatal(err)
	}
	err = c.Update(b.Context(), func(s *checkpoint.State) {
		for day := range node.Day(90) {
			for gap := range int64(10) {
				s.Day(day).Done = s.Day(day).Done.Add(slice(day.Start() + gap))
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := c.Update(b.Context(), func(s *checkpoint.State) { s.Day(0).Bytes++ }); err != nil {
				b.Error(err)
				return
			}
		}
	})
	if err := c.Close(); err != nil {
		b.Error(err)
	}
}
