package migrate

import (
	"sync/atomic"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Kind is what an Event is about.
type Kind string

// The kinds of events.
const (
	Template    Kind = "template"    // Index is the index template, which was absent and is written
	DayStarted  Kind = "day_started" // its first slice is about to be read; Bytes and Nodes are what is to come
	DaySealed   Kind = "day_sealed"  // Nodes is the number of documents counted
	DayCompact  Kind = "day_compact" // it is one segment a shard now, of Bytes in all
	Compacting  Kind = "compacting"  // all is copied; Nodes days are still to be compacted
	DayOpen     Kind = "day_open"    // all copied so far, but Sentry may still write to it: not sealed
	Retry       Kind = "retry"       // a slice is read again; Cause says why
	Waiting     Kind = "waiting"     // a sender pauses; Cause says why
	Restored    Kind = "restored"    // borrowed settings of an index were given back
	Late        Kind = "late"        // Nodes rows had no document, however old they are: they are copied
	Retried     Kind = "retried"     // Nodes that were rejected are sent again
	Missing     Kind = "missing"     // Nodes rows have no document, which Sentry may have deleted since the switch
	Kept        Kind = "kept"        // Nodes documents stay though all rows of their day are gone
	Unexplained Kind = "unexplained" // Nodes documents have no row, and may be Sentry's own
	CaughtUp    Kind = "caught_up"   // a pass is over: Nodes were new, Behind is how old what is not copied may be
	Moved       Kind = "moved"       // Nodes stale copies of rewritten nodes were removed
	Vanished    Kind = "vanished"    // Nodes that were deleted at the source were removed from an index
	Doubled     Kind = "doubled"     // Nodes are in several indices, and none of their copies may be removed
	Dropped     Kind = "dropped"     // a day's index is gone, as the retention says; it is not made again
	Lost        Kind = "lost"        // a day's index with Nodes nodes is gone, and no retention covers the day
	Warning     Kind = "warning"     // Cause says of what
)

// Kinds lists the kinds of events.
func Kinds() []Kind {
	return []Kind{
		Template, DayStarted, DaySealed, DayCompact, Compacting, DayOpen, Retry, Waiting, Restored, Late, Retried, Missing, Kept,
		Unexplained, CaughtUp, Moved, Vanished, Doubled, Dropped, Lost, Warning,
	}
}

// Event is something that a person who waits wants to hear of.
type Event struct {
	Kind  Kind          `json:"event"`
	Day   string        `json:"day,omitempty"`
	Index string        `json:"index,omitempty"`
	Nodes int64         `json:"nodes,omitempty"`
	Bytes int64         `json:"bytes,omitempty"`
	Cause string        `json:"cause,omitempty"`
	Pause time.Duration `json:"-"` // JSON has seconds, which who prints it adds
	// Behind is how long ago the newest row may have been written that is not copied.
	Behind time.Duration `json:"-"`
}

// Summary is the result of a run: the fates of every node that any run on this
// checkpoint has read add up to Read.
type Summary struct {
	Read         int64      `json:"read_nodes"`
	Fates        node.Fates `json:"fates"`
	Bytes        int64      `json:"bytes"` // of data, as the source stores it
	Days         int        `json:"days"`
	Sealed       int        `json:"sealed_days"`
	Lost         []LostDay  `json:"lost_days"`
	Doubled      int64      `json:"doubled_nodes"`    // nodes in several indices, which Sentry cannot open
	Missing      int64      `json:"missing_rows"`     // rows without a document that this run left as they are
	Borrowed     int        `json:"borrowed_indices"` // indices whose settings are not yet given back
	RejectedFile string     `json:"rejected_file"`    // where the rejected nodes are listed
	Run          struct {
		Nodes int64 `json:"nodes"`
		Bytes int64 `json:"bytes"`
	} `json:"this_run"` // what this run sent
	Seconds float64 `json:"seconds"` // of this run
}

// LostDay is a day whose index is gone though no retention covers it.
type LostDay struct {
	Day   string `json:"day"`
	Index string `json:"index"`
	Nodes int64  `json:"nodes"` // that were in it
}

// progress is counted by the workers and read by what shows it.
type progress struct {
	plannedBytes atomic.Int64
	plannedNodes atomic.Int64
	doneBytes    atomic.Int64 // by earlier runs and this one
	doneNodes    atomic.Int64
	sentBytes    atomic.Int64 // by this run
	sentNodes    atomic.Int64
	doubled      atomic.Int64 // nodes in several indices at the end
	missing      atomic.Int64 // rows without a document that were left as they are
}

// begin forgets what was planned and done; what was sent stays.
func (p *progress) begin() {
	for _, n := range []*atomic.Int64{&p.plannedBytes, &p.plannedNodes, &p.doneBytes, &p.doneNodes} {
		n.Store(0)
	}
}

// Progress is how far a migration is. Planned values are estimates until the
// days they are about have been begun.
type Progress struct {
	PlannedBytes int64 `json:"planned_bytes"` // in all, with what earlier runs did
	PlannedNodes int64 `json:"planned_nodes"`
	DoneBytes    int64 `json:"done_bytes"` // with what earlier runs did
	DoneNodes    int64 `json:"done_nodes"`
	SentBytes    int64 `json:"sent_bytes"` // by this run
	SentNodes    int64 `json:"sent_nodes"`
}
