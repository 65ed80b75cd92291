package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// status is what a checkpoint and, if it was asked, a target tell.
type status struct {
	head
	Binding        checkpoint.Binding `json:"binding"`
	Started        time.Time          `json:"started_at"`
	Saved          time.Time          `json:"saved_at"`
	Active         bool               `json:"active"` // saved within the last minute
	CopiedUntil    time.Time          `json:"copied_until,omitzero"`
	Days           []statusDay        `json:"days"` // oldest first
	States         map[string]int     `json:"days_by_state"`
	Fates          node.Fates         `json:"fates"`
	Bytes          int64              `json:"bytes"`
	Compact        int                `json:"compact_days"`                         // days that are, verified or not
	StoredPerByte  float64            `json:"disk_bytes_per_source_byte,omitempty"` // bytes on disk for each of payload, of the days that are compact
	Shape          checkpoint.Shape   `json:"shape,omitzero"`                       // of the indices of past days, where not the template's
	RemainingBytes int64              `json:"estimated_remaining_bytes"`
	BytesPerSecond float64            `json:"bytes_per_second,omitempty"`
	SecondsLeft    float64            `json:"remaining_seconds,omitempty"` // absent until it means something
	Waiting        []string           `json:"waiting"`                     // what is being waited for
	Borrowed       []statusBorrowed   `json:"borrowed"`                    // settings that are not restored yet
	Asked          bool               `json:"target_asked"`
}

type statusDay struct {
	Day      string     `json:"day"`
	State    string     `json:"state"`
	Index    string     `json:"index,omitempty"`
	Nodes    int64      `json:"nodes"`
	Bytes    int64      `json:"bytes"`
	Planned  int64      `json:"planned_bytes,omitempty"`
	Rejected int64      `json:"rejected"`
	Fates    node.Fates `json:"fates"`
	// Documents and Health are the target's; -1 and "" if it has no such index
	// or was not asked.
	Documents int64  `json:"documents"`
	Health    string `json:"health,omitempty"`
}

// done reports whether nothing is to be copied any more, and all of it is there.
func (d statusDay) done() bool {
	return d.State == daySealed || d.State == dayCompact || d.State == dayVerified
}

type statusBorrowed struct {
	Index    string    `json:"index"`
	Since    time.Time `json:"borrowed_at"`
	Settings []string  `json:"settings"`
}

// The states of a day, in the order of its life.
const (
	dayPlanned  = "planned"
	dayCopying  = "copying"
	dayCaughtUp = "caught_up" // all is copied that was there at the last pass
	daySealed   = "sealed"
	dayCompact  = "compact" // sealed, and merged to one segment a shard
	dayVerified = "verified"
	dayDropped  = "dropped" // its index is gone, as the retention says
	dayLost     = "lost"    // its index is gone, and no retention covers it
	dayOld      = "out_of_retention"
)

func newStatus(state *checkpoint.State, now time.Time) *status {
	s := &status{
		head: headed("status"), Binding: state.Binding, Started: state.Started, Saved: state.Saved,
		Shape: state.Shape, Days: []statusDay{}, States: map[string]int{}, Waiting: []string{}, Borrowed: []statusBorrowed{},
	}
	if state.CopyUntil != 0 {
		s.CopiedUntil = time.UnixMicro(state.CopyUntil).UTC()
	}
	if state.Unbounded != nil {
		s.Fates.Add(*state.Unbounded)
	}
	var stored, payload int64 // of compact days
	for _, name := range slices.Sorted(maps.Keys(state.Days)) {
		day, err := node.ParseDay(name)
		if err != nil {
			continue // checkpoint.Read has refused such a file
		}
		record := state.Days[name]
		d := statusDay{
			Day: name, State: stateOf(state, day), Index: record.Index, Nodes: record.Fates.Sum(), Bytes: record.Bytes,
			Planned: record.Planned, Rejected: record.Fates[node.Rejected], Fates: record.Fates, Documents: -1,
		}
		s.Days = append(s.Days, d)
		s.States[d.State]++
		s.Fates.Add(record.Fates)
		s.Bytes += record.Bytes
		if !record.Compact.IsZero() && !record.Gone() {
			s.Compact++
			stored, payload = stored+record.Stored, payload+record.Bytes
		}
		if d.State == dayPlanned || d.State == dayCopying {
			s.RemainingBytes += max(record.Planned-record.Bytes, 0)
		}
		opens := time.UnixMicro(day.End()).UTC().Add(migrate.DefaultOverlap)
		if d.State == dayCaughtUp && opens.After(now) {
			s.Waiting = append(s.Waiting, fmt.Sprintf("%s: Sentry may write to it until %s UTC; a run after that seals it", name, opens.Format("2006-01-02 15:04")))
		}
	}
	if payload > 0 {
		s.StoredPerByte = float64(stored) / float64(payload)
	}
	for _, index := range slices.Sorted(maps.Keys(state.Borrowed)) {
		loan := state.Borrowed[index]
		s.Borrowed = append(s.Borrowed, statusBorrowed{index, loan.At, slices.Sorted(maps.Keys(loan.Settings))})
	}
	return s
}

// stateOf tells how far a day is.
func stateOf(state *checkpoint.State, day node.Day) string {
	record := state.Days[day.String()]
	end := min(day.End(), max(state.CopyUntil, day.Start()))
	_, loading := state.Borrowed[target.Backend{Index: state.Binding.Target.Index}.IndexOf(day)]
	switch {
	case !record.Lost.IsZero():
		return dayLost
	case !record.Dropped.IsZero():
		return dayDropped
	case !record.Sealed.IsZero() && state.Verify != nil && state.Verify.Days[day.String()] != nil && state.Verify.Days[day.String()].Result != nil:
		return dayVerified
	case !record.Compact.IsZero():
		return dayCompact
	case !record.Sealed.IsZero():
		return daySealed
	case len(record.Done) > 0 && len(record.Done.Missing(day.Start(), end)) == 0:
		return dayCaughtUp
	case len(record.Done) > 0:
		return dayCopying
	case record.Fates[node.OutOfRetention] > 0:
		return dayOld
	case loading:
		return dayCopying
	}
	return dayPlanned
}

// ask completes the status with what the target says.
func (s *status) ask(ctx context.Context, to *target.Target) error {
	if cluster := to.Identity().ClusterUUID; cluster != s.Binding.Target.Cluster {
		return &checkpoint.MismatchError{Field: "target cluster", Recorded: s.Binding.Target.Cluster, Given: cluster}
	}
	s.Asked = true
	existing, err := to.AllHoldings(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]target.Holding, len(existing))
	for _, e := range existing {
		there[e.Name] = e
	}
	missing := 0
	for i := range s.Days {
		d := &s.Days[i]
		e, ok := there[d.Index]
		if !ok {
			continue
		}
		d.Documents, d.Health = e.Docs, e.Health
		if e.Health != "green" && d.done() {
			missing++
		}
		if blocks := e.Blocks(); len(blocks) > 0 {
			s.Waiting = append(s.Waiting, fmt.Sprintf("%s refuses writes: %v", e.Name, blocks))
		}
	}
	if missing > 0 {
		s.Waiting = append(s.Waiting, fmt.Sprintf("not all replicas of %d sealed indices are there yet", missing))
	}
	why, err := noRoom(ctx, to, false)
	switch {
	case cluster.NotTold(err):
		s.Waiting = append(s.Waiting, "not known for the nodes' disks: the cluster does not let this user look at them")
		return nil
	case why != "":
		s.Waiting = append(s.Waiting, "room: "+why)
	}
	return err
}
