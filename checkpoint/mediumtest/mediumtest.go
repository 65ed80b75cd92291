// Package mediumtest is the contract of checkpoint.Medium as tests: every
// implementation runs through the same ones. It keeps promise 4 where the
// checkpoint meets its medium.
package mediumtest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// largeBytes is more than a checkpoint of a thousand days with many gaps.
const largeBytes = 8 << 20

// Open opens one place as a Medium; each call opens the same one.
type Open func() (checkpoint.Medium, error)

// Run puts a medium through the contract. Each call of place returns an Open
// of a place of its own, with no document in it.
func Run(t *testing.T, place func(t *testing.T) Open) {
	tests := map[string]func(*testing.T, Open){
		"a new place has no document":              absent,
		"a document is replaced whole":             replaced,
		"a large document is kept":                 large,
		"a document outlives its holder":           kept,
		"one holder at a time":                     exclusive,
		"a cancelled write leaves the old":         cancelled,
		"what was read belongs to the caller":      owned,
		"a closed medium refuses, closes silently": closed,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, place(t))
		})
	}
}

func absent(t *testing.T, open Open) {
	m := mustOpen(t, open)
	if data, err := m.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("read = %q, %v; want fs.ErrNotExist", data, err)
	}
}

func replaced(t *testing.T, open Open) {
	m := mustOpen(t, open)
	for _, document := range []string{`{"n":1}`, `{"n":1,"longer":true}`, `{}`} {
		write(t, m, []byte(document))
		want(t, m, []byte(document))
	}
}

func large(t *testing.T, open Open) {
	m := mustOpen(t, open)
	document := append(append([]byte(`{"pad":"`), bytes.Repeat([]byte("x"), largeBytes)...), `"}`...)
	write(t, m, document)
	want(t, m, document)
}

func kept(t *testing.T, open Open) {
	m := mustOpen(t, open)
	write(t, m, []byte(`{"n":1}`))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, mustOpen(t, open), []byte(`{"n":1}`))
}

func exclusive(t *testing.T, open Open) {
	first := mustOpen(t, open)
	if _, err := open(); !errors.Is(err, checkpoint.ErrHeld) {
		t.Fatalf("second open = %v, want ErrHeld", err)
	}
	write(t, first, []byte(`{}`))
	if _, err := open(); !errors.Is(err, checkpoint.ErrHeld) {
		t.Fatalf("second open after a write = %v, want ErrHeld", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, open)
}

func cancelled(t *testing.T, open Open) {
	m := mustOpen(t, open)
	write(t, m, []byte(`{"n":1}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Write(ctx, []byte(`{"n":2}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("write = %v, want context.Canceled", err)
	}
	if _, err := m.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want context.Canceled", err)
	}
	want(t, m, []byte(`{"n":1}`))
}

func owned(t *testing.T, open Open) {
	m := mustOpen(t, open)
	write(t, m, []byte(`{"n":1}`))
	data, err := m.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	want(t, m, []byte(`{"n":1}`))
}

func closed(t *testing.T, open Open) {
	m := mustOpen(t, open)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Write(t.Context(), []byte(`{}`)); err == nil {
		t.Error("a closed medium took a document")
	}
	if _, err := m.Read(t.Context()); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of a closed medium = %v, want a refusal", err)
	}
}

func mustOpen(t *testing.T, open Open) checkpoint.Medium {
	t.Helper()
	m, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func write(t *testing.T, m checkpoint.Medium, document []byte) {
	t.Helper()
	if err := m.Write(t.Context(), document); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, m checkpoint.Medium, document []byte) {
	t.Helper()
	data, err := m.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, document) {
		t.Fatalf("read %d bytes (%.40q), want %d (%.40q)", len(data), data, len(document), document)
	}
}
