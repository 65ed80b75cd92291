package verify

import (
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what an Event tells of.
type Kind string

// The kinds of events.
const (
	DayStarted   Kind = "day_started"   // its ids are about to be compared; Nodes is how many rows it has
	DayCompared  Kind = "day_compared"  // Findings is what was found on it
	Resumed      Kind = "resumed"       // an earlier run is continued
	Waiting      Kind = "waiting"       // a question is asked again; Cause says why
	LookingAgain Kind = "looking_again" // Nodes did not look right, and are looked at again before they are blamed
	Repairing    Kind = "repairing"     // what a repair is about to do, or would do
)

// Kinds lists the kinds of events.
func Kinds() []Kind {
	return []Kind{DayStarted, DayCompared, Resumed, Waiting, LookingAgain, Repairing}
}

// Event is something that a person who waits wants to hear of.
type Event struct {
	Kind     Kind          `json:"event"`
	Day      string        `json:"day,omitempty"`
	Nodes    int64         `json:"nodes,omitempty"`
	Findings int64         `json:"findings,omitempty"`
	Cause    string        `json:"cause,omitempty"`
	Pause    time.Duration `json:"-"` // JSON has seconds, which who prints it adds
}

// Progress is how far a verification is. It may be read at any time.
type Progress struct {
	PlannedNodes int64 `json:"planned_nodes"` // ids and payloads that this run has to compare, about
	Nodes        int64 `json:"done_nodes"`    // of these, compared by this run
	Bytes        int64 `json:"done_bytes"`    // of payloads, likewise
}

// Point is a moment of a run.
type Point struct {
	Seconds float64 `json:"seconds"` // since the run began
	Nodes   int64   `json:"nodes"`   // compared until then
	Bytes   int64   `json:"bytes"`
}

// maxPoints bounds how many moments are kept: with more, every other one goes.
const maxPoints = 400

// meter counts what is compared.
type meter struct{ planned, nodes, bytes atomic.Int64 }

func (m *meter) add(nodes, bytes int64) {
	m.nodes.Add(nodes)
	m.bytes.Add(bytes)
}

// run takes a point now and then until the returned function is called, which
// returns them.
func (m *meter) run() (stop func() []Point) {
	started, done := time.Now(), make(chan struct{})
	var points []Point
	point := func() {
		points = append(points, Point{time.Since(started).Seconds(), m.nodes.Load(), m.bytes.Load()})
	}
	var running sync.WaitGroup
	running.Go(func() {
		interval := 250 * time.Millisecond
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for point(); ; point() {
			if len(points) > maxPoints {
				for i := range len(points) / 2 {
					points[i] = points[2*i]
				}
				points = points[:len(points)/2]
				interval *= 2
				ticker.Reset(interval)
			}
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	})
	return func() []Point {
		close(done)
		running.Wait()
		point()
		return points
	}
}
