package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// day is a day whose nodes are written: its index is prepared, loaded and sealed.
type day struct {
	*indices
	day     node.Day
	index   target.Index // once it is prepared
	missing []checkpoint.Range
	planned source.DaySize
	open    atomic.Int64 // slices that are not in the checkpoint
	hot     bool         // Sentry may write to its index, which is left as it is
	fresh   bool         // something was there to be copied
	// complete: all of the day is copied when what is missing is, because it is
	// over, or the switch is.
	complete bool

	mu       sync.Mutex // held while its index is found gone
	gone     atomic.Bool
	goneFate node.Fate // of what is left then, which is not copied
}

// newDay describes a day at a moment; its index is not looked at yet.
func (x *indices) newDay(n node.Day, now int64) *day {
	d := &day{indices: x, day: n}
	d.hot = n.End()+x.overlap() > now || x.SwitchedAt != 0 && n >= node.DayOf(x.SwitchedAt)
	d.complete = n.End() <= now || x.SwitchedAt != 0 && x.SwitchedAt+x.overlap() <= now
	d.know(target.Index{Name: x.target.Backend().IndexOf(n)})
	return d
}

// know makes an index the day's, and tells it what it has to know of Sentry.
func (d *day) know(index target.Index) {
	d.index = index
	d.index.SwitchedAt, d.index.Wrote = d.SwitchedAt, d.ledger.marked
}

// String names the day.
func (d *day) String() string { return d.day.String() }

func (d *day) name() string { return d.index.Name }

// mode is how the day's nodes are written: a version of ours would overwrite
// what Sentry wrote, so it is used only where Sentry never wrote.
func (d *day) mode() target.Mode {
	if !d.index.Versioned() {
		return target.CreateOnly
	}
	return target.Versioned
}

// prepare makes the index ready to be written, creating that of a past day for
// loading, and another one as the backend's first write would. The loan is in
// the checkpoint before anything is changed.
func (d *day) prepare(ctx context.Context) error {
	found, ok, err := d.target.Daily(ctx, d.day)
	if err != nil {
		return err
	}
	if ok {
		return d.adopt(ctx, found)
	}
	if d.ledger.filled(d.day) { // it was dropped while nobody looked
		return d.markGone(ctx)
	}
	made, err := d.create(ctx)
	if err != nil {
		return err
	}
	if found, ok, err = d.target.Daily(ctx, d.day); err != nil {
		return err
	}
	if !ok { // dropped this very moment
		return d.markGone(ctx)
	}
	err = d.adopt(ctx, found)
	if made && found.Problem() != "" { // the template was changed since it was looked at
		err = hint.Add(errors.Join(err, d.target.Drop(ctx, found.Name)), "it held nothing and is removed again; make the template what the backend asks for, then run the same command again")
	}
	return err
}

// create creates the index. It reports whether it made it for loading, so that
// nobody else writes there.
func (d *day) create(ctx context.Context) (made bool, err error) {
	if d.hot {
		return false, d.target.CreateShared(ctx, d.name(), d.origins[0])
	}
	loan, err := d.target.Loan(ctx, d.name())
	if err != nil {
		return false, err
	}
	err = d.ledger.Update(ctx, func(state *checkpoint.State) {
		state.Day(d.day).Index = d.name()
		state.Borrowed[d.name()] = checkpoint.Borrowed{Settings: loan.Before, At: time.Now().UTC()}
	})
	if err != nil {
		return false, err
	}
	loan.Shape = d.Shape
	err = d.target.Create(ctx, d.name(), loan, d.origins[0])
	if errors.Is(err, target.ErrExists) {
		return false, nil // somebody else was faster: it is adopted
	}
	return err == nil, err
}

// adopt takes an index that is there for the day's.
func (d *day) adopt(ctx context.Context, found target.Index) error {
	same, err := d.sameIndex(ctx, found)
	if err != nil {
		return err
	}
	if !same {
		return d.markGone(ctx)
	}
	d.know(found)
	if err := d.check(ctx, found); err != nil {
		return err
	}
	if recorded, _ := d.ledger.day(d.day); recorded.UUID != found.UUID {
		err := d.ledger.Update(ctx, func(state *checkpoint.State) { state.Day(d.day).UUID = found.UUID })
		if err != nil {
			return err
		}
	}
	return d.correctLoan(ctx, found)
}

// check refuses to write where Sentry would not read it, where another region's
// nodes are (promise 9), and where an answer does not mean that it is on disk
// (promise 4). Another region's run may have begun at the same moment as this one.
func (x *indices) check(ctx context.Context, index target.Index) error {
	if problem := index.Problem(); problem != "" {
		return hint.Add(fmt.Errorf("index %s: %s", index.Name, problem), index.Remedy())
	}
	if index.Origin != nil && !x.origins.Have(*index.Origin) {
		return x.target.CheckOrigin(ctx, x.origins)
	}
	if !index.Durable() {
		return hint.Add(fmt.Errorf("index %s has index.translog.durability=async: what it takes may be lost", index.Name),
			"set it to request for that index while it is migrated: PUT /"+index.Name+`/_settings {"index.translog.durability":"request"}`)
	}
	return nil
}

// write sends a batch, unless the index is gone: then its nodes are out of
// retention, or lost.
func (d *day) write(ctx context.Context, batch *target.Batch) (target.Outcome, error) {
	if d.gone.Load() {
		return d.outcomeGone(batch), nil
	}
	if err := d.Gate.Enter(ctx, batch.Size()); err != nil {
		return target.Outcome{}, err
	}
	began := time.Now()
	outcome, err := d.target.Write(ctx, d.index, batch)
	d.Gate.Leave(batch.Size(), time.Since(began))
	if target.IsGone(err) {
		if err := d.markGone(ctx); err != nil {
			return target.Outcome{}, err
		}
		return d.outcomeGone(batch), nil
	}
	if err == nil {
		d.progress.sentNodes.Add(int64(batch.Len()))
	}
	return outcome, err
}

// outcomeGone is what becomes of nodes whose day's index is gone.
func (d *day) outcomeGone(batch *target.Batch) (outcome target.Outcome) {
	outcome.Fates[d.goneFate] = int64(batch.Len())
	return outcome
}

// maxSentAgain is how many ranges of batches that were sent again are kept of
// a day. With more of them, what lies between is taken to be among them.
const maxSentAgain = 100

// commit puts a slice into the checkpoint, after the list of its rejected nodes.
// Rows that came late are a slice without a range.
func (d *day) commit(ctx context.Context, r *reading) error {
	if r.fates.Sum() != r.read.nodes {
		return fmt.Errorf("slice %s to %s: %d nodes were read and %d have a fate",
			isoTime(r.slice.from), isoTime(r.slice.to), r.read.nodes, r.fates.Sum())
	}
	var expected int64
	if d.open.Load() > 1 { // slices of the day are to come
		expected = d.planned.Rows
	}
	if err := d.ledger.budget.spend(d.Budget, d.day, r.read, expected); err != nil {
		return err
	}
	done := checkpoint.Range{From: r.slice.from, To: r.slice.to}
	if r.slice.sent {
		r.again = r.again.Add(done)
	}
	save := func(change func(*checkpoint.State)) error {
		err := d.ledger.Update(ctx, func(state *checkpoint.State) {
			record := state.Day(d.day)
			record.Index = d.name()
			if record.UUID == "" {
				record.UUID = d.index.UUID
			}
			record.Done = record.Done.Add(done)
			digest(record, r)
			record.Fates.Add(r.fates)
			record.Fates[node.Rejected] -= int64(len(r.retried))
			transfer(&record.Fates, node.Superseded, r.replaced)
			if record.Gone() { // what was written before that was found is gone as well
				retire(&record.Fates, record.GoneAs())
			}
			record.Bytes += r.read.bytes
			for _, span := range r.again {
				record.SentAgain = record.SentAgain.Add(span).Coarse(maxSentAgain)
			}
			state.CatchUp.Remember(r.read.recent)
			change(state)
		})
		if err == nil {
			d.ledger.commits.Add(1)
		}
		return err
	}
	if len(r.read.rejected)+len(r.retried) == 0 {
		return save(func(*checkpoint.State) {})
	}
	payloads, err := d.payloads(ctx, r.read.rejected)
	if err != nil {
		return err
	}
	return d.ledger.rejects.commit(ctx, lines(r.retried, r.read.rejected), payloads, func(size RejectsSize) error {
		return save(func(state *checkpoint.State) { state.Rejected = checkpoint.Rejected(size) })
	})
}

// digest adds a slice to the digest of its day. It is gone for good once a part of
// the day is not known for certain: documents took the place of others, were
// removed, or are of an earlier version of this tool, which made none.
func digest(record *checkpoint.Day, r *reading) {
	if record.Digest == nil && atTarget(record.Fates) == 0 {
		record.Digest = &node.Digest{}
	}
	if r.unsure || record.Gone() {
		record.Digest = nil
	}
	if record.Digest != nil {
		record.Digest.Add(r.read.digest)
	}
}

// payloads reads what rejected nodes hold, if that was asked for.
func (d *day) payloads(ctx context.Context, rejected []Rejected) (found []rejectedPayload, err error) {
	if d.ledger.rejects.payloads == nil {
		return nil, nil
	}
	var ids []string
	for _, r := range rejected {
		if r.Reason != ReasonUnreadable {
			ids = append(ids, r.ID)
		}
	}
	err = d.source.Fetch(ctx, ids, func(n node.Node) error {
		found = append(found, rejectedPayload{ID: string(n.ID), Data: append([]byte(nil), n.Data...)})
		return nil
	})
	return found, err
}

// seal finishes the day: refreshed, flushed, settings given back, counted. Each
// step can be repeated, so a crash between any two of them costs nothing. A day
// that is not over is made visible and stays open.
func (d *day) seal(ctx context.Context) error {
	if d.gone.Load() { // what was under way then is gone as well
		_, err := d.recordGone(ctx, d.day)
		return err
	}
	if d.SwitchedAt != 0 && !d.hot && d.index.Ours() {
		if err := d.stale.clear(ctx, d.day, d.name()); err != nil {
			return err
		}
	}
	found, there, err := d.target.Daily(ctx, d.day)
	if err != nil {
		return err
	}
	if !there || found.UUID != d.index.UUID {
		return d.markGone(ctx)
	}
	loan, recorded := d.loanOf(d.name())
	compacting := d.complete && recorded && d.wants(found)
	if compacting {
		loan = butReplicas(loan)
	}
	if err := d.giveBack(ctx, found, loan); err != nil {
		return err
	}
	if !d.complete {
		if d.fresh {
			d.Notify(Event{Kind: DayOpen, Day: d.String(), Index: d.name()})
		}
		return nil
	}
	counted, err := d.target.Count(ctx, d.name(), nil)
	if target.IsGone(err) {
		return d.markGone(ctx)
	}
	if err != nil {
		return err
	}
	err = d.ledger.Update(ctx, func(state *checkpoint.State) {
		if !compacting {
			delete(state.Borrowed, d.name())
		}
		record := state.Day(d.day)
		record.Index, record.Sealed, record.Counted = d.name(), time.Now().UTC(), counted
	})
	if err == nil {
		d.Notify(Event{Kind: DaySealed, Day: d.String(), Index: d.name(), Nodes: counted})
		d.sealed()
	}
	return err
}

// markGone says that the day's index is gone.
func (d *day) markGone(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone.Load() {
		return nil
	}
	fate, err := d.recordGone(ctx, d.day)
	if err != nil {
		return err
	}
	d.goneFate = fate
	d.gone.Store(true)
	return nil
}

// recallGone lets the day know that its index was found gone before.
func (d *day) recallGone() {
	if recorded, _ := d.ledger.day(d.day); recorded.Gone() {
		d.goneFate = recorded.GoneAs()
		d.gone.Store(true)
	}
}
