package verify

import (
	"context"
	"errors"
	"time"
)

// maxHeld is how long a reading waits in its middle, with a transaction open at the
// source, while questions are held back. It is begun again later.
const maxHeld = 20 * time.Second

// errHeld ends a reading whose questions are held back.
var errHeld = errors.New("held back")

// through asks a question that reads so many bytes, once the gate lets it.
func (r *run) through(ctx context.Context, bytes int64, question func() error) error {
	waiting, enough := context.WithTimeout(ctx, maxHeld)
	err := r.Gate.Calm(waiting)
	enough()
	if err != nil && ctx.Err() == nil {
		return errHeld
	}
	if err == nil {
		err = r.Gate.Enter(ctx, int(bytes))
	}
	if err != nil {
		return err
	}
	began := time.Now()
	err = question()
	r.Gate.Leave(int(bytes), time.Since(began))
	return err
}

// whenCalm begins a reading once nothing is held back, and begins it again if something
// is in its middle.
func (r *run) whenCalm(ctx context.Context, reading func() error) error {
	for {
		if err := r.Gate.Calm(ctx); err != nil {
			return err
		}
		if err := reading(); !errors.Is(err, errHeld) {
			return err
		}
	}
}
