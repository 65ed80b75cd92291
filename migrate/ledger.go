package migrate

import (
	"context"
	"sync/atomic"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// ledger is what the checkpoint says of nodes and days: which fate they have,
// and which documents are known to be this tool's.
type ledger struct {
	*checkpoint.Checkpoint
	rejects *Rejects
	target  *target.Target
	notify  func(Event)
	budget  budget
	commits atomic.Int64                     // of slices, by this process
	written atomic.Pointer[checkpoint.Marks] // nodes whose documents are ours, or are about to be; of late only
}

// day returns what is recorded of a day, and whether anything is. Its ranges are
// not to be kept.
func (l *ledger) day(n node.Day) (record checkpoint.Day, known bool) {
	l.View(func(state *checkpoint.State) {
		if d, ok := state.Days[n.String()]; ok {
			record, known = *d, true
		}
	})
	return record, known
}

// filled reports whether documents were written to a day's index.
func (l *ledger) filled(n node.Day) bool {
	record, _ := l.day(n)
	return atTarget(record.Fates) > 0
}

// atTarget is how many nodes of these fates are documents, or were.
func atTarget(f node.Fates) int64 {
	return f[node.Stored] + f[node.AlreadyThere] + f[node.Superseded] + f[node.Lost]
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

// takeAway gives n nodes of a day another fate, whose documents were removed.
func takeAway(record *checkpoint.Day, fate node.Fate, n int64) {
	transfer(&record.Fates, fate, n)
	record.Digest = nil
}

// removed gives nodes their fate whose documents were removed, by index.
func (l *ledger) removed(ctx context.Context, count map[string]int64, fate node.Fate) error {
	err := l.Update(ctx, func(state *checkpoint.State) {
		for index, n := range count {
			if day, ok := l.target.Backend().DayOf(index); ok {
				takeAway(state.Day(day), fate, n)
			}
		}
	})
	for index, n := range count {
		l.notify(Event{Kind: Kind(fate.String()), Index: index, Nodes: n})
	}
	return err
}

// recall reads the marks that the checkpoint has, and returns those of nodes
// that have their fate. They are the caller's.
func (l *ledger) recall() (known checkpoint.Marks) {
	var written checkpoint.Marks
	l.View(func(state *checkpoint.State) { known, written = state.CatchUp.Marks(), state.CatchUp.Written() })
	l.written.Store(&written)
	return known
}

// announce marks rows whose timestamp is after now before they are written: a
// run that is killed then must not leave documents that look like Sentry's.
func (l *ledger) announce(ctx context.Context, keys []key, now int64) error {
	var ahead []checkpoint.Mark
	for _, k := range keys {
		if k.micros >= now && !l.written.Load().Has(k.mark()) {
			ahead = append(ahead, k.mark())
		}
	}
	if len(ahead) == 0 {
		return nil
	}
	err := l.Update(ctx, func(state *checkpoint.State) { state.CatchUp.Announce(ahead) })
	l.recall()
	return err
}

// marked reports whether a document is that of a row that is remembered.
func (l *ledger) marked(c target.Copy) bool {
	return l.written.Load().HasDocument(c.ID, c.Millis)
}

// key is a row without its payload.
type key struct {
	id     string
	micros int64
}

func (k key) mark() checkpoint.Mark { return checkpoint.MarkOf([]byte(k.id), k.micros) }
