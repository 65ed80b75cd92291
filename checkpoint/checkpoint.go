// Package checkpoint is the durable record of a migration: what is done, which
// settings are borrowed, and the one source and one target that it belongs to.
// It keeps promise 4 (what it calls done survives a crash at any instant),
// the recording half of promise 7 (settings are borrowed, never kept) and
// promise 9 (one region goes to one alias).
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// ErrHeld is in the chain of the error that a Medium is opened with while
// another run holds it. The error's text names the holder if it is known.
var ErrHeld = errors.New("another run holds the checkpoint")

// ErrClosed is returned by Update after Close.
var ErrClosed = errors.New("checkpoint is closed")

// Medium is where the document lies. The process that opened one holds it alone until
// Close or the end of the process. Package mediumtest holds the tests that
// every implementation must pass.
type Medium interface {
	// Read returns the document, or an error that is fs.ErrNotExist if there is
	// none yet. The caller owns the bytes.
	Read(ctx context.Context) ([]byte, error)

	// Write replaces the document and returns when the new one is durable. At
	// every instant, and after an error, the medium holds the old or the new
	// document in full. It comes to an end by itself: its caller does not
	// cancel a write that has begun.
	Write(ctx context.Context, document []byte) error

	// Close releases the medium for another holder. Closing twice is not an error.
	Close() error
}

// Checkpoint is an open checkpoint. Its methods may be called concurrently.
type Checkpoint struct {
	medium Medium

	// writing is held for the length of a write and taken before mu. Whoever
	// waits for it may find that the write before has saved its change too.
	writing sync.Mutex

	mu      sync.Mutex
	state   State
	durable []byte // the document on the medium
	changes uint64 // changes applied to state
	saved   uint64 // changes that are durable
	err     error  // why no further change is accepted
}

// Open resumes the checkpoint on m, or creates it there, durably, bound
// to b. A checkpoint of another source or target gives a *MismatchError, one
// of a later version a *NewerError, an unreadable one ErrDamaged. The
// Checkpoint owns m; after an error the caller still does.
func Open(ctx context.Context, m Medium, b Binding) (*Checkpoint, error) {
	data, err := m.Read(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return create(ctx, m, b)
	}
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	state, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	state.Binding, err = state.Binding.Accept(b)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	return &Checkpoint{medium: m, state: state, durable: data}, nil
}

func create(ctx context.Context, m Medium, b Binding) (*Checkpoint, error) {
	state := State{
		Binding:  b,
		Started:  time.Now().UTC(),
		Days:     map[string]*Day{},
		Borrowed: map[string]Borrowed{},
	}
	data, err := state.encode()
	if err != nil {
		return nil, err
	}
	if err := m.Write(ctx, data); err != nil {
		return nil, fmt.Errorf("create checkpoint: %w", err)
	}
	return &Checkpoint{medium: m, state: state, durable: data}, nil
}

// Update applies a change and returns when it is durable. Changes of
// concurrent calls are written together. The first write that goes wrong ends
// the checkpoint: its changes are taken back, and this and every later call
// return its error. A cancelled ctx refuses a change that has not begun, and
// never cuts short one that has. change runs under the lock: it is short and
// calls no method of c.
func (c *Checkpoint) Update(ctx context.Context, change func(*State)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	err := c.err
	if err == nil {
		change(&c.state)
		c.changes++
	}
	number := c.changes
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.save(context.WithoutCancel(ctx), number)
}

// save writes all changes so far, unless an earlier write covered number.
func (c *Checkpoint) save(ctx context.Context, number uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saved >= number {
		return nil
	}
	if c.err != nil {
		return c.err
	}
	data, err := c.state.encode()
	if err != nil {
		return c.fail(err)
	}
	changes := c.changes
	c.mu.Unlock() // others may change and view the state meanwhile
	err = c.medium.Write(ctx, data)
	c.mu.Lock()
	if err != nil {
		return c.fail(fmt.Errorf("save checkpoint: %w", err))
	}
	c.durable, c.saved = data, changes
	return nil
}

// fail makes err final and goes back to the durable state, so that View never
// shows as done what a later run will do again. The caller holds mu.
func (c *Checkpoint) fail(err error) error {
	state, decodeErr := Decode(c.durable)
	c.state, c.err = state, errors.Join(err, decodeErr)
	return c.err
}

// View lets read look at the state. It may see changes whose Update has not
// yet returned. Nothing of the state may be kept or changed.
func (c *Checkpoint) View(read func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read(&c.state)
}

// Close waits for the write that is under way and gives the medium free. The
// state can still be viewed. Closing twice is not an error.
func (c *Checkpoint) Close() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = ErrClosed
	}
	if err := c.medium.Close(); err != nil {
		return fmt.Errorf("close checkpoint: %w", err)
	}
	return nil
}
