package onindex

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

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

func (p Place) readLock(ctx context.Context) (records.Record, lock, error) {
	record, err := p.Records.Get(ctx, p.lockID())
	if err != nil || record.Body == nil {
		return record, lock{}, err
	}
	var l lock
	if err := json.Unmarshal(record.Body, &l); err != nil {
		return record, lock{}, fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
	}
	return record, l, nil
}

func (p Place) putLock(ctx context.Context, l lock, last records.Record) (records.Record, error) {
	body, err := json.Marshal(l)
	if err != nil {
		return records.Record{}, err
	}
	return p.Records.Put(ctx, p.lockID(), body, last)
}

// held is the lock as its holder last wrote it.
type held struct {
	lock
	record records.Record
}

// acquire takes the lock if nobody has it, or nobody writes it any more.
func (m *Medium) acquire(ctx context.Context) (held, error) {
	mine := lock{Token: rand.Text(), Holder: holder()}
	for {
		record, seen, err := m.place.readLock(ctx)
		if err != nil {
			return held{}, err
		}
		if seen.Holder != "" {
			if m.place.Waiting != nil {
				m.place.Waiting(seen.Holder)
			}
			if err := m.watch(ctx, record, seen.Holder); err != nil {
				return held{}, err
			}
		}
		mine.Epoch = seen.Epoch + 1
		record, err = m.place.putLock(ctx, mine, record)
		if errors.Is(err, records.ErrChanged) {
			continue // somebody was faster, or the holder is alive
		}
		m.epoch = mine.Epoch
		return held{mine, record}, err
	}
}

// watch returns when the lock is given free or did not change for a lease, and
// an error when its holder wrote it.
func (m *Medium) watch(ctx context.Context, seen records.Record, holder string) error {
	lease := time.NewTimer(m.place.Lease)
	defer lease.Stop()
	look := time.NewTicker(m.place.Lease / looksPerLease)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lease.C:
			return nil
		case <-look.C:
			record, now, err := m.place.readLock(ctx)
			if err != nil {
				return err
			}
			if now.Holder == "" {
				return nil
			}
			if !record.Same(seen) {
				return hint.Add(fmt.Errorf("%w: %s", checkpoint.ErrHeld, holder),
					"wait for the other run or stop it; nodestore-migrate status shows how far it is")
			}
		}
	}
}

// beat writes the lock until ctx ends or the lock is another's. A cluster that
// does not answer is not a reason to stop: if another run takes over meanwhile,
// the next write of the state says so.
func (m *Medium) beat(ctx context.Context, h held) {
	ticker := time.NewTicker(m.place.Lease / beatsPerLease)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		h.Beat++
		record, err := m.place.putLock(ctx, h.lock, h.record)
		if errors.Is(err, records.ErrChanged) {
			// Perhaps by a beat of ours whose answer never came.
			var now lock
			if record, now, err = m.place.readLock(ctx); err == nil && now.Token != h.Token {
				_ = m.lose() // the next use returns it
				return
			}
		}
		if err == nil {
			h.record = record
		}
	}
}

// release gives the lock free.
func (m *Medium) release(ctx context.Context) error {
	record, now, err := m.place.readLock(ctx)
	if err != nil {
		return fmt.Errorf("release checkpoint %s: %w", m.place, err)
	}
	if now.Epoch != m.epoch || now.Holder == "" {
		return nil // taken over
	}
	now.Holder = ""
	_, err = m.place.putLock(ctx, now, record)
	if err != nil && !errors.Is(err, records.ErrChanged) {
		return fmt.Errorf("release checkpoint %s: %w", m.place, err)
	}
	return nil
}

func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}
