package sim

import (
	"fmt"
	"strings"
	"time"
)

// deed is what a step does.
type deed uint8

const (
	write    deed = iota // Sentry writes or rewrites an id
	remove               // Sentry deletes an id
	wait                 // time passes
	cleanup              // Sentry's nightly cleanup, of whichever side it reads
	drop                 // somebody drops the oldest daily index
	flip                 // the switch: from now on Sentry uses OpenSearch
	straggle             // after the switch, a process or a transaction of before still writes to the source
	leave                // before the first run, another tool leaves an old version in a day
	early                // before the switch, a process of Sentry writes an id to OpenSearch already
	mistake              // somebody drops the index of an id's day, which no retention covers
	empty                // after the switch, the operator deletes the rows of an id's day
	truncate             // after the switch, the operator deletes all rows
	spoil                // somebody changes the index template, or the alias of an id's day
	fault                // answers of OpenSearch are lost, cut or replaced
	migrate              // the tool runs
	check                // the tool verifies
)

var deedNames = [...]string{
	"write", "remove", "wait", "cleanup", "drop the oldest index", "switch", "straggle", "leave", "early", "drop by mistake the day of", "empty the day of", "truncate",
	"spoil", "fault", "migrate", "verify",
}

// step is one thing that happens. Steps that make no sense where they stand do
// nothing, so that any part of a history is a history.
type step struct {
	do    deed
	id    int
	span  time.Duration // wait: how long; write, straggle: from the clock back to the timestamp; leave: from the row's to the document's
	kind  kind
	spoil spoilage
	fault faulty
	run   run
}

// kind is what a written row holds.
type kind uint8

const (
	readable kind = iota
	pickled       // the tool rejects it
)

// spoilage is what is wrong from then on.
type spoilage uint8

const (
	filtered spoilage = iota // new indices are behind the alias with a filter
	unaliased
	unstored     // new indices do not store data
	piped        // new indices name a pipeline that is not there
	dayFiltered  // the alias gets a filter for an id's day
	dayUnaliased // an id's day leaves the alias
	spoilages
)

var spoilageNames = [spoilages]string{
	"the template's alias has a filter", "the template has no alias", "the template does not store data", "the template names a pipeline that is not there",
	"the alias has a filter for the day of", "out of the alias goes the day of",
}

// faulty is what is wrong with one answer.
type faulty uint8

const (
	page     faulty = iota // a proxy answers with a page of its own, 404
	timedOut               // a search ends before it has seen everything
	away                   // a search lacks a shard
	busy                   // each item of a bulk request is refused with 429
	faults
)

var faultNames = [faults]string{"a proxy's page", "a search that times out", "a shard that is away", "429 for each item"}

// run is how a run of the tool goes.
type run struct {
	second   bool // by a second operator, who has a checkpoint of his own
	again    bool // lost days are copied again, and missing rows
	obedient bool // what is gone from the source goes from the target, however much it is
	full     bool // verify: in full
	accept   bool // verify: rejected rows are given up
	during   []event
	crash    crash
}

// event is what happens at a request of a run.
type event struct {
	request int
	side    side
	step    step
}

// crash is when the tool is killed, if request is not 0.
type crash struct {
	request int
	side    side
}

// side says whether the server has seen the request.
type side uint8

const (
	before side = iota
	after
	late // it sees the request only during the next run
)

func (s side) String() string { return [...]string{"before", "after", "late at"}[s] }

// history is a world and what happens in it.
type history struct {
	setting
	steps []step
}

// setting is what stays as it is all through a history.
type setting struct {
	shape  shape
	keep   time.Duration // the retention that the tool is told; 0: none
	closed bool          // the tool may not create an index by writing to it
	calm   bool          // nothing happens that could keep the verdict from being safe at the end
}

// shape is what the relation is.
type shape uint8

const (
	table shape = iota
	view        // over a table in which an id repeats with each rewrite
)

const (
	ids = 10
	day = 24 * time.Hour
	// retention is what the cleanups keep, in days.
	retention = 6
)

// String lists the steps, one a line.
func (h history) String() string {
	var b strings.Builder
	if h.shape == view {
		fmt.Fprintln(&b, "  the relation is a view")
	}
	if h.keep != 0 {
		fmt.Fprintf(&b, "  the tool runs with a retention of %s\n", h.keep)
	}
	if h.closed {
		fmt.Fprintln(&b, "  the tool may not create an index by writing to it")
	}
	for _, s := range h.steps {
		fmt.Fprintf(&b, "  %s\n", s)
		for _, d := range s.run.during {
			fmt.Fprintf(&b, "      %s request %d: %s\n", d.side, d.request, d.step)
		}
		if c := s.run.crash; c.request != 0 {
			fmt.Fprintf(&b, "      killed %s request %d\n", c.side, c.request)
		}
	}
	return b.String()
}

func (s step) String() string {
	name := deedNames[s.do]
	switch s.do {
	case write, straggle, leave:
		name = fmt.Sprintf("%s id %d, timestamp %s back", name, s.id, s.span)
	case remove, early, mistake, empty:
		name = fmt.Sprintf("%s id %d", name, s.id)
	case wait:
		name = fmt.Sprintf("%s %s", name, s.span)
	case spoil:
		name = fmt.Sprintf("%s: %s id %d", name, spoilageNames[s.spoil], s.id)
	case fault:
		name = fmt.Sprintf("%s: %s", name, faultNames[s.fault])
	}
	for _, extra := range []struct {
		holds bool
		text  string
	}{
		{s.kind == pickled, ", a pickle"},
		{s.run.second, ", by a second operator"},
		{s.run.again, ", what is lost again"},
		{s.run.full, ", in full"},
		{s.run.accept, ", rejected rows accepted"},
	} {
		if extra.holds {
			name += extra.text
		}
	}
	return name
}
