// Package onindex keeps checkpoints in an index on the target, so that a run on
// another machine can continue. It keeps promise 4 where there is no file system
// to share: each write names the version that it replaces, so a process that
// lost its checkpoint to another one, however long it slept, can change nothing
// any more.
//
// A checkpoint is two records. The lock is a lease without clocks: its holder
// writes it again several times a lease, and who wants it watches whether it
// changes for the length of a lease by its own watch. The state carries the
// epoch of its holder, which grows with each change of hands.
package onindex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// Medium is an index as checkpoint.Medium.
type Medium struct {
	*held

	mu       sync.Mutex
	state    records.Record // as this holder last saw it
	revision int64          // of the state, within the epoch
	closed   bool
}

// stored is the state's record: a document of a holder.
type stored struct {
	Epoch    int64           `json:"epoch"`
	Revision int64           `json:"revision"` // counted by the holder: no two versions are alike
	Document json.RawMessage `json:"document,omitempty"`
}

// Open takes the lock and returns the medium. While another run holds it the
// error is checkpoint.ErrHeld; that takes a part of a lease to see. The lock of
// a run that ended without giving it free is taken over after one lease.
func Open(ctx context.Context, place Place) (*Medium, error) {
	if place.Lease == 0 {
		place.Lease = DefaultLease
	}
	held, err := hold(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("lock checkpoint %s: %w", place, err)
	}
	m := &Medium{held: held}
	if err := m.fence(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open checkpoint %s: %w", place, err), m.Close())
	}
	return m, nil
}

func (p Place) stateID() string { return p.Key + "/state" }

// Read returns the document of a checkpoint without its lock, also while a run
// holds it. Without one the error is fs.ErrNotExist.
func Read(ctx context.Context, place Place) ([]byte, error) {
	_, s, err := get[stored](ctx, place, place.stateID())
	if err == nil && s.Document == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint %s: %w", place, err)
	}
	return s.Document, nil
}

// fence makes the state this epoch's, so that no write of an earlier holder
// succeeds from now on, be it the creation.
func (m *Medium) fence(ctx context.Context) error {
	for {
		record, s, err := get[stored](ctx, m.place, m.place.stateID())
		if err != nil {
			return err
		}
		if s.Epoch >= m.epoch {
			return m.lose()
		}
		s.Epoch, s.Revision = m.epoch, 0
		record, err = m.place.put(ctx, m.place.stateID(), s, record)
		if errors.Is(err, records.ErrChanged) {
			continue // the earlier holder has not noticed yet
		}
		m.mu.Lock()
		m.state = record
		m.mu.Unlock()
		return err
	}
}

// Read is that of checkpoint.Medium.
func (m *Medium) Read(ctx context.Context) ([]byte, error) {
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	_, s, err := get[stored](ctx, m.place, m.place.stateID())
	switch {
	case err != nil:
		return nil, err
	case s.Epoch != m.epoch:
		return nil, m.lose()
	case s.Document == nil:
		return nil, fs.ErrNotExist
	}
	return s.Document, nil
}

// Write is that of checkpoint.Medium. The document has to be JSON; white space
// between its parts is not kept.
func (m *Medium) Write(ctx context.Context, document []byte) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	m.revision++
	s, last := stored{m.epoch, m.revision, document}, m.state
	m.mu.Unlock()
	record, err := m.place.put(ctx, m.place.stateID(), s, last)
	if errors.Is(err, records.ErrChanged) {
		return m.lose()
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.state = record
	m.mu.Unlock()
	return nil
}

func (m *Medium) usable(ctx context.Context) error {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	switch {
	case closed:
		return fs.ErrClosed
	case m.taken.Load():
		return m.lose()
	}
	return ctx.Err()
}

// Close gives the lock free, unless another run has taken it.
func (m *Medium) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	return m.release()
}
