package migrate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// slice is a piece of a day on its way through the pipeline.
type slice struct {
	day      *day
	from, to int64    // half-open, µs
	bytes    int64    // of data that it is expected to have
	cuts     []string // as in source.Slice
	apart    bool     // rows of it cannot be read: the others are read apart from them
	sent     bool     // by an attempt that was abandoned, in part: it is all sent again
}

// attempt is one reading of a slice. Its nodes are counted apart from those of
// other attempts, so that only the one that went through counts.
type attempt struct {
	slice *slice
	// pending is the number of parties that are not done with it: the reader,
	// and each batch. Who brings it to zero commits the slice.
	pending   atomic.Int64
	abandoned atomic.Bool
	sent      bool // a batch of it went to the senders; the reader's own

	mu       sync.Mutex
	read     tally
	fates    node.Fates
	replaced int64             // documents of earlier nodes of the same day whose place was taken
	again    checkpoint.Ranges // the timestamps of batches that were sent more than once
}

// tally counts what was read into a batch.
type tally struct {
	nodes    int64
	bytes    int64 // of data, as the source stores it
	first    int64 // oldest timestamp, µs
	last     int64 // newest timestamp
	rejected []Rejected
	recent   []checkpoint.Mark // nodes so young that others beside them may be committed later
}

// load is a full batch that waits for a sender.
type load struct {
	attempt *attempt
	batch   *target.Batch
	read    tally
}

// maxSentAgain is how many ranges of batches that were sent again are kept of
// a day. With more of them, what lies between is taken to be among them.
const maxSentAgain = 100

// add counts what was read into a batch, and what became of it.
func (a *attempt) add(read tally, outcome target.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if outcome.SentAgain {
		a.again = a.again.Add(checkpoint.Range{From: read.first, To: read.last + 1})
	}
	a.read.nodes += read.nodes
	a.read.bytes += read.bytes
	a.read.rejected = append(a.read.rejected, read.rejected...)
	a.read.recent = append(a.read.recent, read.recent...)
	a.fates[node.Rejected] += int64(len(read.rejected))
	a.fates.Add(outcome.Fates)
	a.replaced += outcome.Replaced
	for _, r := range outcome.Rejected {
		a.read.rejected = append(a.read.rejected, Rejected{ID: r.ID, Timestamp: isoTime(r.Micros), Reason: r.Reason, Detail: r.Detail})
	}
}

// forget takes nodes out of the count that had a fate before: they were sent
// again.
func (a *attempt) forget(n int64) {
	for _, fate := range []node.Fate{node.Stored, node.AlreadyThere, node.Superseded, node.Rejected} {
		taken := min(max(n, 0), a.fates[fate])
		a.fates[fate] -= taken
		a.read.nodes -= taken
		n -= taken
	}
}

// filler puts the nodes of an attempt into batches.
type filler struct {
	attempt *attempt
	check   *node.Checker
	limit   func() int              // of a batch's body, in bytes
	young   func(micros int64) bool // whether rows beside a node may be committed later: it is remembered
	known   checkpoint.Marks        // nodes that have their fate: a clock that was ahead had them copied before their time

	empty func() (*target.Batch, error) // where batches come from
	full  func(load) error              // where they go

	reading bool          // a statement is open
	batch   *target.Batch // being filled; nil between two batches
	read    tally         // what went into it
}

// begin takes an empty batch, if there is none.
func (f *filler) begin() (err error) {
	if f.batch != nil {
		return nil
	}
	if f.batch, err = f.empty(); err != nil {
		return err
	}
	f.batch.Reset(f.attempt.slice.day.mode())
	return nil
}

// refuse rejects a row that the server has and cannot read.
func (f *filler) refuse(bad source.Bad) error {
	if err := f.begin(); err != nil {
		return err
	}
	f.count(bad.Micros, 0)
	f.read.rejected = append(f.read.rejected, Rejected{ID: string(bad.ID), Timestamp: isoTime(bad.Micros), Reason: ReasonUnreadable, Detail: bad.Why})
	return nil
}

// count counts a row that was read.
func (f *filler) count(micros, bytes int64) {
	if f.read.nodes == 0 {
		f.read.first, f.read.last = micros, micros
	}
	f.read.first, f.read.last = min(f.read.first, micros), max(f.read.last, micros)
	f.read.nodes++
	f.read.bytes += bytes
}

// add puts a node into the batch that is being filled. A batch that the node
// does not fit into is sent before.
func (f *filler) add(n node.Node) error {
	if len(f.known) > 0 && f.known.Has(checkpoint.MarkOf(n.ID, n.Micros)) {
		return nil
	}
	if f.batch != nil && f.batch.Len() > 0 && f.batch.Size()+f.batch.Room(n) > f.limit() {
		if err := f.push(); err != nil {
			return err
		}
	}
	if err := f.begin(); err != nil {
		return err
	}
	verdict := f.batch.Append(n, f.check)
	f.count(n.Micros, int64(len(n.Data)))
	if f.young(n.Micros) {
		f.read.recent = append(f.read.recent, checkpoint.MarkOf(n.ID, n.Micros))
	}
	if verdict.Reason != node.Accepted {
		f.read.rejected = append(f.read.rejected, Rejected{ID: string(n.ID), Timestamp: isoTime(n.Micros), Reason: verdict.Reason})
	}
	return nil
}

// push sends the batch on its way.
func (f *filler) push() error {
	if f.batch == nil {
		return nil
	}
	l := load{f.attempt, f.batch, f.read}
	f.batch, f.read = nil, tally{}
	return f.full(l)
}

// commit puts a slice into the checkpoint, after the list of its rejected
// nodes. Rows that came late are a slice without a range.
func (m *Migration) commit(ctx context.Context, a *attempt) error {
	if a.fates.Sum() != a.read.nodes {
		return fmt.Errorf("slice %s to %s: %d nodes were read and %d have a fate",
			isoTime(a.slice.from), isoTime(a.slice.to), a.read.nodes, a.fates.Sum())
	}
	if err := m.spend(a); err != nil {
		return err
	}
	if a.slice.sent {
		a.again = a.again.Add(checkpoint.Range{From: a.slice.from, To: a.slice.to})
	}
	save := func(change func(*checkpoint.State)) error {
		err := m.checkpoint.Update(ctx, func(state *checkpoint.State) {
			record := state.Day(a.slice.day.day)
			record.Index = a.slice.day.name()
			if record.UUID == "" {
				record.UUID = a.slice.day.index.UUID
			}
			record.Done = record.Done.Add(checkpoint.Range{From: a.slice.from, To: a.slice.to})
			record.Fates.Add(a.fates)
			transfer(&record.Fates, node.Superseded, a.replaced)
			record.Bytes += a.read.bytes
			for _, r := range a.again {
				record.SentAgain = record.SentAgain.Add(r).Coarse(maxSentAgain)
			}
			state.CatchUp.Remember(a.read.recent)
			change(state)
		})
		if err == nil {
			m.commits.Add(1)
		}
		return err
	}
	if len(a.read.rejected) == 0 {
		return save(func(*checkpoint.State) {})
	}
	payloads, err := m.payloads(ctx, a.read.rejected)
	if err != nil {
		return err
	}
	return m.rejects.commit(ctx, a.read.rejected, payloads, func(size RejectsSize) error {
		return save(func(state *checkpoint.State) { state.Rejected = checkpoint.Rejected(size) })
	})
}

// transfer gives n nodes that are at the target another fate.
func transfer(fates *node.Fates, to node.Fate, n int64) {
	for _, from := range []node.Fate{node.Stored, node.AlreadyThere, node.Superseded} {
		taken := min(n, fates[from])
		fates[from] -= taken
		fates[to] += taken
		n -= taken
	}
}

// payloads reads what rejected nodes hold, if that was asked for.
func (m *Migration) payloads(ctx context.Context, rejected []Rejected) ([]rejectedPayload, error) {
	if m.rejects.payloads == nil {
		return nil, nil
	}
	var ids []string
	for _, r := range rejected {
		if r.Reason != ReasonUnreadable {
			ids = append(ids, r.ID)
		}
	}
	var found []rejectedPayload
	err := m.source.Fetch(ctx, ids, func(n node.Node) error {
		found = append(found, rejectedPayload{ID: string(n.ID), Data: append([]byte(nil), n.Data...)})
		return nil
	})
	return found, err
}

// write sends a batch, unless the day's index is gone: then its nodes are out of
// retention, or lost.
func (m *Migration) write(ctx context.Context, d *day, batch *target.Batch) (target.Outcome, error) {
	if d.gone.Load() {
		return d.outcomeGone(batch), nil
	}
	if err := m.options.Gate.Enter(ctx, batch.Size()); err != nil {
		return target.Outcome{}, err
	}
	began := time.Now()
	outcome, err := m.target.Write(ctx, d.index, batch)
	m.options.Gate.Leave(batch.Size(), time.Since(began))
	if target.IsGone(err) {
		if err := m.markGone(ctx, d); err != nil {
			return target.Outcome{}, err
		}
		return d.outcomeGone(batch), nil
	}
	m.progress.sentNodes.Add(int64(batch.Len()))
	return outcome, err
}

// outcomeGone is what becomes of nodes whose day's index is gone.
func (d *day) outcomeGone(batch *target.Batch) (outcome target.Outcome) {
	outcome.Fates[d.goneFate] = int64(batch.Len())
	return outcome
}

func isoTime(micros int64) string { return string(node.AppendTimestamp(nil, micros)) }
