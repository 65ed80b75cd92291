// Package plan finds out, before anything is copied, whether a migration would
// go through: what is at the source, whether the target would take it, what it
// would cost. It reads only (promise 6 holds for it too, and nothing of the
// target is changed), and it keeps the refusing half of promise 9: a source
// that is not exactly one region, or an alias that is another's, is a no-go.
package plan

import (
	"context"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// State is what a check came to.
type State string

// The states. Only NoGo keeps a migration from being started.
const (
	OK      State = "ok"
	Warning State = "warning" // it would go through, but somebody should look
	NoGo    State = "no_go"
	Unknown State = "unknown" // it could not be found out; Detail says why
)

// Side is what a check is about.
type Side string

// The sides.
const (
	Source     Side = "source"
	Target     Side = "target"
	Checkpoint Side = "checkpoint"
	Forecast   Side = "forecast"
)

// Check is one thing that was looked at.
type Check struct {
	Side   Side   `json:"side"`
	Name   string `json:"name"` // the same in every plan, such as "timestamp_index"
	State  State  `json:"state"`
	Detail string `json:"detail"`           // what was found, in one line
	Remedy string `json:"remedy,omitempty"` // what to do about it
	Err    error  `json:"-"`                // that it comes from; who calls may know a remedy
	Lever  Lever  `json:"-"`                // the setting that the remedy is about
}

// Lever is a setting of a migration or a plan that a remedy names. Who calls knows
// how to set it.
type Lever uint8

// The levers.
const (
	NameRegion Lever = iota + 1
	LookBackFurther
	ChooseRows // the source, the table, the days
	ChooseDays
	ChooseTable
	MeasureSpeed
	RestoreSettings
	ChooseCodec    // of the indices of past days
	ChooseShards   // of each past day
	NameCheckpoint // of the run that changed settings, which restores them
)

// Plan is what was found out. Parts that could not be are nil; a check says so.
type Plan struct {
	Go       bool       `json:"go"` // no check is a NoGo
	Checks   []Check    `json:"checks"`
	Relation *Relation  `json:"relation,omitempty"`
	Days     []Day      `json:"days"` // oldest first
	Census   *Census    `json:"census,omitempty"`
	Cost     *Cost      `json:"cost,omitempty"`
	Probe    *ProbeRun  `json:"probe,omitempty"`
	Codecs   []CodecRun `json:"probe_codecs,omitempty"` // the probe's, first, and others
	Silo     *SiloFacts `json:"silo,omitempty"`
}

// Reasons returns the checks in a state.
func (p Plan) Reasons(state State) (found []Check) {
	for _, c := range p.Checks {
		if c.State == state {
			found = append(found, c)
		}
	}
	return found
}

// Config says what is to be migrated and how.
type Config struct {
	Source         source.Config
	Target         target.Config
	Checkpoint     Record
	Region         string   // as the operator names it, "" if not
	Since, Until   node.Day // the days to copy, half-open; 0 for all
	Retention      int      // days that Sentry keeps; 0 keeps all
	Probe          bool     // measure with real nodes and a scratch index
	Senders        int      // bulk requests at the same time, for the measurement
	BytesPerSecond float64  // to expect; 0: not given
}

// Record is where the checkpoint of an earlier run may be.
type Record struct {
	Name     string // for people
	OnTarget bool   // it is read from the target, not from a file
	// Read returns what is recorded, without its lock; where nothing is, the
	// error is fs.ErrNotExist.
	Read func(context.Context, *target.Target) (checkpoint.State, error)
}

// Make makes a plan. What is wrong with either side is part of the plan; an
// error is returned only when ctx ends before the plan is complete.
func Make(ctx context.Context, config Config) (Plan, error) {
	r := &run{config: config, plan: Plan{Checks: []Check{}, Days: []Day{}}}
	defer r.close()
	from, to := &sourceSide{r}, &targetSide{run: r}
	r.look(ctx, from.open, to.open, (&earlier{r}).check)
	if r.source != nil {
		r.look(ctx, from.checkSilo, from.checkRelation, from.checkCondition, from.checkDays, (&census{r}).check)
	}
	if r.target != nil {
		r.look(ctx, to.checkCluster, to.checkExisting, to.checkContract, to.checkCodec, to.checkShards, to.checkOrigin, to.checkAccess, to.checkLeftovers)
	}
	r.look(ctx, (&prober{run: r, to: to}).check)
	if to.preview != nil && len(r.plan.Days) > 0 {
		(&forecast{r, to}).reckon()
	}
	r.plan.Go = len(r.plan.Reasons(NoGo)) == 0
	if ctx.Err() != nil {
		return Plan{}, ctx.Err()
	}
	return r.plan, nil
}
