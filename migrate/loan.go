package migrate

import (
	"context"
	"maps"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// indices are the daily indices of the days that are copied. What they have lent
// for loading is in the checkpoint before they are changed (promise 7).
type indices struct {
	*run
	stale  *stale
	sealed func() // told of each day that is sealed
}

// loanOf returns what an index has lent, as it is recorded.
func (x *indices) loanOf(name string) (loan checkpoint.Borrowed, recorded bool) {
	x.ledger.View(func(state *checkpoint.State) { loan, recorded = state.Borrowed[name] })
	return loan, recorded
}

// correctLoan makes the record of what an index has lent fit the index. It does
// not if a request of a run that was killed arrived late, or if the checkpoint
// was lost: then an index is being loaded and nobody would give anything back.
// And an index that was dropped and made again has lent nothing.
func (x *indices) correctLoan(ctx context.Context, index target.Index) error {
	loan, recorded := x.loanOf(index.Name)
	switch {
	case recorded && !lent(index, loan):
		return x.ledger.Update(ctx, func(state *checkpoint.State) { delete(state.Borrowed, index.Name) })
	case recorded && loan.UUID == index.UUID || !recorded && !index.Loading():
		return nil
	case !recorded:
		normal, err := x.target.Loan(ctx, index.Name)
		if err != nil {
			return err
		}
		loan = checkpoint.Borrowed{Settings: normal.Before, At: time.Now().UTC()}
	}
	loan.UUID = index.UUID
	return x.ledger.Update(ctx, func(state *checkpoint.State) { state.Borrowed[index.Name] = loan })
}

// lent reports whether an index is the one that a loan is from. Before its uuid
// is recorded, its loading alias tells: only this tool makes one.
func lent(index target.Index, loan checkpoint.Borrowed) bool {
	if loan.UUID == "" {
		return index.Origin != nil && index.Loading()
	}
	return loan.UUID == index.UUID
}

// giveBack makes an index durable and visible, then gives its settings back:
// replicas last, so that they copy segments and need replay nothing. An index
// that was made again since has lent nothing.
func (x *indices) giveBack(ctx context.Context, index target.Index, loan checkpoint.Borrowed) error {
	err := x.target.Refresh(ctx, index.Name)
	if err == nil {
		err = x.target.Flush(ctx, index.Name)
	}
	if err == nil && loan.Settings != nil && lent(index, loan) {
		err = x.target.GiveBack(ctx, index.Name, loan.Settings)
	}
	if target.IsGone(err) {
		return nil // an index that is gone has nothing to get back
	}
	return err
}

// replicaSettings are given back when a day is compact, if it is to be.
var replicaSettings = []string{"index.number_of_replicas", "index.auto_expand_replicas"}

// butReplicas is the part of a loan that ends when a day is sealed.
func butReplicas(loan checkpoint.Borrowed) checkpoint.Borrowed {
	loan.Settings = maps.Clone(loan.Settings)
	for _, name := range replicaSettings {
		delete(loan.Settings, name)
	}
	return loan
}

// endLateLoan ends the loading of an index that a request of a killed run made
// after the settings of its other indices were given back.
func (x *indices) endLateLoan(ctx context.Context, index target.Index) error {
	if err := x.correctLoan(ctx, index); err != nil {
		return err
	}
	return x.restore(ctx, func(name string) bool { return name == index.Name })
}

// restore gives back what the indices that are wanted have lent, and forgets the
// loans.
func (x *indices) restore(ctx context.Context, wanted func(index string) bool) error {
	loans := make(map[string]checkpoint.Borrowed)
	x.ledger.View(func(state *checkpoint.State) {
		for name, loan := range state.Borrowed {
			if wanted(name) {
				loans[name] = loan
			}
		}
	})
	for name, loan := range loans {
		day, _ := x.target.Backend().DayOf(name)
		index, there, err := x.target.Daily(ctx, day)
		if err == nil && there {
			err = x.giveBack(ctx, index, loan)
		}
		if err == nil {
			err = x.ledger.Update(ctx, func(state *checkpoint.State) { delete(state.Borrowed, name) })
		}
		if err != nil {
			return err
		}
		x.Notify(Event{Kind: Restored, Index: name})
	}
	return nil
}
