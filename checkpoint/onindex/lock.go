package onindex

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
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

// String names the place for people.
func (p Place) String() string { return "opensearch:" + p.Records.Index() + " " + p.Key }

const (
	// beatsPerLease is how often a holder writes its lock in a lease: one beat
	// may be lost and one late.
	beatsPerLease = 4
	// looksPerLease is how often the lock is looked at by who wants it.
	looksPerLease = 8
)

// lock is the lock's record.
type lock struct {
	Epoch  int64  `json:"epoch"`
	Beat   int64  `json:"beat"`
	Token  string `json:"token"`            // of the holder: two on one host may have one process number
	Holder string `json:"holder,omitempty"` // for people; "": nobody holds it
}

func (p Place) lockID() string { return p.Key + "/lock" }

// get reads what a record of the place holds, a zero value if there is none.
func get[T any](ctx context.Context, p Place, id string) (record records.Record, value T, err error) {
	record, err = p.Records.Get(ctx, id)
	if err != nil || record.Body == nil {
		return record, value, err
	}
	if err := json.Unmarshal(record.Body, &value); err != nil {
		return record, value, fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
	}
	return record, value, nil
}

// put replaces last; the error is records.ErrChanged if the record is another by now.
func (p Place) put(ctx context.Context, id string, value any, last records.Record) (records.Record, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return records.Record{}, err
	}
	return p.Records.Put(ctx, id, body, last)
}

// TakenError says that another run took the checkpoint over. It is
// checkpoint.ErrHeld.
type TakenError struct {
	Lease time.Duration // for how long this run was silent
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%v: it took over, because this one was silent for longer than the lease of %s", checkpoint.ErrHeld, e.Lease)
}

func (e *TakenError) Unwrap() error { return checkpoint.ErrHeld }

// held is a lock that is held, until another run is seen to have it.
type held struct {
	place Place
	epoch int64
	taken atomic.Bool
	stop  context.CancelFunc // ends the heart
	heart sync.WaitGroup
}

// hold takes the lock if nobody has it, or nobody writes it any more, and then
// writes it until release.
func hold(ctx context.Context, place Place) (*held, error) {
	mine := lock{Token: rand.Text(), Holder: checkpoint.Holder()}
	for {
		record, seen, err := get[lock](ctx, place, place.lockID())
		if err != nil {
			return nil, err
		}
		if seen.Holder != "" {
			if place.Waiting != nil {
				place.Waiting(seen.Holder)
			}
			if err := place.watch(ctx, record, seen.Holder); err != nil {
				return nil, err
			}
		}
		mine.Epoch = seen.Epoch + 1
		record, err = place.put(ctx, place.lockID(), mine, record)
		if errors.Is(err, records.ErrChanged) {
			continue // somebody was faster, or the holder is alive
		}
		if err != nil {
			return nil, err
		}
		h := &held{place: place, epoch: mine.Epoch}
		beating, stop := context.WithCancel(context.WithoutCancel(ctx))
		h.stop = stop
		h.heart.Go(func() { h.beat(beating, mine, record) })
		return h, nil
	}
}

// watch returns when the lock is given free or did not change for a lease, and
// an error when its holder wrote it.
func (p Place) watch(ctx context.Context, seen records.Record, holder string) error {
	lease := time.NewTimer(p.Lease)
	defer lease.Stop()
	look := time.NewTicker(p.Lease / looksPerLease)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lease.C:
			return nil
		case <-look.C:
			record, now, err := get[lock](ctx, p, p.lockID())
			if err != nil {
				return err
			}
			if now.Holder == "" {
				return nil
			}
			if !record.Same(seen) {
				return checkpoint.HeldBy(holder)
			}
		}
	}
}

// beat writes the lock until ctx ends or the lock is another's. A cluster that
// does not answer is not a reason to stop: if another run takes over meanwhile,
// the next write of the state says so.
func (h *held) beat(ctx context.Context, mine lock, last records.Record) {
	ticker := time.NewTicker(h.place.Lease / beatsPerLease)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		mine.Beat++
		record, err := h.place.put(ctx, h.place.lockID(), mine, last)
		if errors.Is(err, records.ErrChanged) {
			// Perhaps by a beat of ours whose answer never came.
			var now lock
			if record, now, err = get[lock](ctx, h.place, h.place.lockID()); err == nil && now.Token != mine.Token {
				_ = h.lose() // the next use returns it
				return
			}
		}
		if err == nil {
			last = record
		}
	}
}

// lose notes that another run holds the checkpoint now, and returns the error
// that says so.
func (h *held) lose() error {
	h.taken.Store(true)
	return &TakenError{h.place.Lease}
}

// release gives the lock free, unless another run has taken it.
func (h *held) release() error {
	h.stop()
	h.heart.Wait()
	if h.taken.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.place.Lease)
	defer cancel()
	record, now, err := get[lock](ctx, h.place, h.place.lockID())
	if err == nil && now.Epoch == h.epoch && now.Holder != "" {
		now.Holder = ""
		_, err = h.place.put(ctx, h.place.lockID(), now, record)
	}
	if err != nil && !errors.Is(err, records.ErrChanged) {
		return fmt.Errorf("release checkpoint %s: %w", h.place, err)
	}
	return nil
}
