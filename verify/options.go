package verify

import (
	"context"
	"math"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Level is how much is compared. Each level includes those before it.
type Level string

// The levels.
const (
	Counts Level = "counts" // rows and documents of each day
	IDs    Level = "ids"    // every node: there, once, in its day, and nothing else
	Sample Level = "sample" // and the payloads of a random sample
	Full   Level = "full"   // and every payload
)

// Subset is one of several disjoint parts of the payloads. The zero value is
// all of them.
type Subset struct{ Part, Of int }

// Options say what to compare. Zero values stand for defaults.
type Options struct {
	Level      Level
	Since      node.Day      // first day to compare; 0 for all
	Until      node.Day      // first day not to compare; 0 for all
	Confidence float64       // of the bound; 0.95
	MaxDefects float64       // share of the nodes that a clean sample rules out; 0.00003
	Seed       uint64        // which nodes are drawn
	Subset     Subset        // of the payloads, for Full
	Accept     []node.Reason // reasons for which rejected nodes are given up
	GiveUp     int64         // rows out of retention that are given up, at most
	Repair     Repair        // what to do about findings; nil: nothing
	Workers    int           // questions that are asked at the same time; 4
	Gate       Gate          // holds questions back; nil: they are asked at once
	// BytesPerSecond is about what the gate lets through, so that no reading lasts long;
	// 0: it does not limit that.
	BytesPerSecond float64

	// RejectedList is the file in which the migration lists rejected nodes, and
	// Findings the one in which the verification lists what it finds.
	RejectedList, Findings string

	// Pauses are the waits before a suspect is looked at again; it is blamed
	// after the last. By default 0.5, 1 and 2 seconds: more than a refresh takes.
	Pauses []time.Duration
	// Stop, when it is closed, ends the run within seconds; what is recorded stays.
	Stop <-chan struct{}
	// Notify is told what happens. It may be called by several goroutines.
	Notify func(Event)
}

// Gate lets questions about payloads and ids be asked, one for each worker at most.
type Gate interface {
	// Enter waits until a question that reads so many bytes may be asked. Unless it
	// returns an error, Leave follows.
	Enter(ctx context.Context, bytes int) error
	// Leave says how long the answer took.
	Leave(bytes int, took time.Duration)
	// Calm waits until nothing holds questions back.
	Calm(ctx context.Context) error
}

// openGate lets everything through.
type openGate struct{}

func (openGate) Enter(context.Context, int) error { return nil }
func (openGate) Leave(int, time.Duration)         {}
func (openGate) Calm(context.Context) error       { return nil }

// withDefaults fills in what was left out. A share of 0.003 % makes a sample of
// about 100,000 nodes.
func (o Options) withDefaults() Options {
	if o.Level == "" {
		o.Level = Sample
	}
	if o.Confidence == 0 {
		o.Confidence = 0.95
	}
	if o.MaxDefects == 0 {
		o.MaxDefects = 0.00003
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Pauses == nil {
		o.Pauses = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}
	}
	if o.Gate == nil {
		o.Gate = openGate{}
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	if o.Until == 0 {
		o.Until = math.MaxInt32
	}
	return o
}

// whole reports whether all days were asked for.
func (o Options) whole() bool { return o.Since == 0 && o.Until == math.MaxInt32 }

func (o Options) stopped() bool {
	select {
	case <-o.Stop:
		return true
	default:
		return false
	}
}
