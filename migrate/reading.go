package migrate

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// destination is where the nodes of a slice go.
type destination interface {
	// String names it.
	String() string
	// mode is how nodes are written there.
	mode() target.Mode
	// write sends a batch, and says what became of each of its nodes.
	write(context.Context, *target.Batch) (target.Outcome, error)
	// commit records durably that a slice is done: all of its nodes have their fate.
	commit(context.Context, *reading) error
}

// slice is a time range on its way through the pipeline.
type slice struct {
	into     destination
	open     *atomic.Int64 // slices that are not done, of this one's kind
	from, to int64         // half-open, µs
	bytes    int64         // of data that it is expected to have
	cuts     []string      // as in source.Slice
	apart    bool          // rows of it cannot be read: the others are read apart from them
	patient  bool          // it is waited for the target however long that takes
	sent     bool          // by a reading that was abandoned, in part: it is all sent again
}

// reading is one reading of a slice. Its nodes are counted apart from those of
// other readings, so that only the one that went through counts.
type reading struct {
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
	unsure   bool              // what is stored of it is not for certain what was read
	retried  []Rejected        // its nodes that were rejected before, for the list
}

// tally counts what was read into a batch.
type tally struct {
	nodes    int64
	bytes    int64       // of data, as the source stores it
	first    int64       // oldest timestamp, µs
	last     int64       // newest timestamp
	digest   node.Digest // of the documents that were made of it
	rejected []Rejected
	recent   []checkpoint.Mark // nodes so young that others beside them may be committed later
}

// load is a full batch that waits for a sender.
type load struct {
	reading *reading
	batch   *target.Batch
	read    tally
}

// add counts what was read into a batch, and what became of it.
func (r *reading) add(read tally, outcome target.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if outcome.SentAgain {
		r.again = r.again.Add(checkpoint.Range{From: read.first, To: read.last + 1})
	}
	r.read.nodes += read.nodes
	r.read.bytes += read.bytes
	r.read.digest.Add(read.digest)
	stored := outcome.Fates[node.Stored] + outcome.Fates[node.AlreadyThere]
	r.unsure = r.unsure || read.digest.Nodes != stored || outcome.Replaced > 0
	r.read.rejected = append(r.read.rejected, read.rejected...)
	r.read.recent = append(r.read.recent, read.recent...)
	r.fates[node.Rejected] += int64(len(read.rejected))
	r.fates.Add(outcome.Fates)
	r.replaced += outcome.Replaced
	for _, one := range outcome.Rejected {
		r.read.rejected = append(r.read.rejected, Rejected{ID: one.ID, Timestamp: isoTime(one.Micros), Reason: one.Reason, Detail: one.Detail})
	}
}

// forget takes nodes out of the count that had a fate before: they were sent
// again.
func (r *reading) forget(n int64) {
	r.unsure = r.unsure || n > 0
	for _, fate := range []node.Fate{node.Stored, node.AlreadyThere, node.Superseded, node.Rejected} {
		taken := min(max(n, 0), r.fates[fate])
		r.fates[fate] -= taken
		r.read.nodes -= taken
		n -= taken
	}
}

// filler puts the nodes of a reading into batches.
type filler struct {
	reading *reading
	check   *node.Checker
	limit   func() int              // of a batch's body, in bytes
	young   func(micros int64) bool // whether rows beside a node may be committed later: it is remembered
	known   checkpoint.Marks        // nodes that have their fate: a clock that was ahead had them copied before their time

	empty func() (*target.Batch, error) // where batches come from
	full  func(load) error              // where they go

	streaming bool          // a statement is open
	batch     *target.Batch // being filled; nil between two batches
	read      tally         // what went into it
}

// begin takes an empty batch, if there is none.
func (f *filler) begin() (err error) {
	if f.batch != nil {
		return nil
	}
	if f.batch, err = f.empty(); err != nil {
		return err
	}
	f.batch.Reset(f.reading.slice.into.mode())
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
	f.read.digest = f.batch.Digest()
	l := load{f.reading, f.batch, f.read}
	f.batch, f.read = nil, tally{}
	return f.full(l)
}
