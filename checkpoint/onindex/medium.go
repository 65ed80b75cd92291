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
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// DefaultLease outlasts a long garbage collection of the cluster or a busy
// minute of the machine, and makes a crashed run wait less than a pod takes to
// start.
const DefaultLease = 15 * time.Second

// Place is where a checkpoint lies.
type Place struct {
	Records records.Store // of an index that exists
	Key     string        // of the checkpoint among others in the index
	Lease   time.Duration // how long a holder may be silent; 0 stands for DefaultLease
	// Waiting, if set, is told whose lock is watched before that takes its time.
	Waiting func(holder string)
}

// Medium is an index as checkpoint.Medium.
type Medium struct {
	place  Place
	epoch  int64
	cancel context.CancelFunc // ends the heart
	heart  sync.WaitGroup

	mu       sync.Mutex
	state    records.Record // as this holder last saw it
	revision int64          // of the state, within the epoch
	closed   bool
	lost     bool // another holder was seen
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
	m := &Medium{place: place}
	held, err := m.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock checkpoint %s: %w", place, err)
	}
	beating, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	m.heart.Go(func() { m.beat(beating, held) })
	if err := m.fence(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open checkpoint %s: %w", place, err), m.Close())
	}
	return m, nil
}

// String names the place for people.
func (p Place) String() string { return "opensearch:" + p.Records.Index() + " " + p.Key }

func (p Place) stateID() string { return p.Key + "/state" }

// Read returns the document of a checkpoint without its lock, also while a run
// holds it. Without one the error is fs.ErrNotExist.
func Read(ctx context.Context, place Place) ([]byte, error) {
	_, s, err := place.read(ctx)
	if err == nil && s.Document == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint %s: %w", place, err)
	}
	return s.Document, nil
}

func (p Place) read(ctx context.Context) (records.Record, stored, error) {
	record, err := p.Records.Get(ctx, p.stateID())
	if err != nil || record.Body == nil {
		return record, stored{}, err
	}
	var s stored
	if err := json.Unmarshal(record.Body, &s); err != nil {
		return record, stored{}, fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
	}
	return record, s, nil
}

// fence makes the state this epoch's, so that no write of an earlier holder
// succeeds from now on, be it the creation.
func (m *Medium) fence(ctx context.Context) error {
	for {
		record, s, err := m.place.read(ctx)
		if err != nil {
			return err
		}
		if s.Epoch >= m.epoch {
			return m.lose()
		}
		s.Epoch, s.Revision = m.epoch, 0
		record, err = m.put(ctx, s, record)
		if errors.Is(err, records.ErrChanged) {
			continue // the earlier holder has not noticed yet
		}
		m.mu.Lock()
		m.state = record
		m.mu.Unlock()
		return err
	}
}

func (m *Medium) put(ctx context.Context, s stored, last records.Record) (records.Record, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return records.Record{}, err
	}
	return m.place.Records.Put(ctx, m.place.stateID(), body, last)
}

// Read is that of checkpoint.Medium.
func (m *Medium) Read(ctx context.Context) ([]byte, error) {
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	_, s, err := m.place.read(ctx)
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
	record, err := m.put(ctx, s, last)
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
	closed, lost := m.closed, m.lost
	m.mu.Unlock()
	switch {
	case closed:
		return fs.ErrClosed
	case lost:
		return m.lose()
	}
	return ctx.Err()
}

// lose notes that another run holds the checkpoint now, and returns the error
// that says so.
func (m *Medium) lose() error {
	m.mu.Lock()
	m.lost = true
	m.mu.Unlock()
	return hint.Add(fmt.Errorf("%w: it took over, because this one was silent for longer than the lease of %s", checkpoint.ErrHeld, m.place.Lease),
		"nothing is lost, the other run continues; give --lease a longer time if this machine or the cluster often stands still")
}

// Close gives the lock free, unless another run has taken it.
func (m *Medium) Close() error {
	m.mu.Lock()
	closed, lost := m.closed, m.lost
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	m.cancel()
	m.heart.Wait()
	if lost {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.place.Lease)
	defer cancel()
	return m.release(ctx)
}
