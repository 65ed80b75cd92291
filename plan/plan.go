// Package plan finds out, before anything is copied, whether a migration would
// go through: what is at the source, whether the target would take it, what it
// would cost. It reads only (promise 6 holds for it too, and nothing of the
// target is changed), and it keeps the refusing half of promise 9: a source
// that is not exactly one region, or an alias that is another's, is a no-go.
package plan

import (
	"context"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
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
}

// Plan is what was found out. Parts that could not be are nil; a check says so.
type Plan struct {
	Type     string     `json:"type"` // "plan"
	Go       bool       `json:"go"`   // no check is a NoGo
	Checks   []Check    `json:"checks"`
	Relation *Relation  `json:"relation,omitempty"`
	Days     []Day      `json:"days"` // oldest first
	Census   *Census    `json:"census,omitempty"`
	Cost     *Cost      `json:"cost,omitempty"`
	Probe    *ProbeRun  `json:"probe,omitempty"`
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

// maker makes one plan.
type maker struct {
	config   Config
	plan     Plan
	source   *source.Source    // nil: it could not be opened
	target   *target.Target    // nil: it could not be opened
	state    *checkpoint.State // nil: there is none yet, or it could not be read
	now      int64             // the source's clock, µs
	existing []target.Existing
	misnamed bool // the alias is an index: nothing else can be said of the indices
	preview  *target.Preview
	health   *target.Health
	limits   *target.Limits
	disks    []target.Disk
}

// Make makes a plan. What is wrong with either side is part of the plan; an
// error is returned only when ctx ends before the plan is complete.
func Make(ctx context.Context, config Config) (Plan, error) {
	m := &maker{config: config, plan: Plan{Type: "plan", Days: []Day{}}}
	defer m.close()
	for _, step := range []func(context.Context){
		m.openSource, m.openTarget, m.checkCheckpoint,
		m.checkSilo, m.checkRelation, m.checkCondition, m.checkDays, m.checkCensus,
		m.checkCluster, m.checkExisting, m.checkContract, m.checkOrigin, m.checkAccess, m.checkLeftovers,
		m.probe, m.forecast,
	} {
		step(ctx)
		if ctx.Err() != nil {
			return Plan{}, ctx.Err()
		}
	}
	m.plan.Go = len(m.plan.Reasons(NoGo)) == 0
	return m.plan, nil
}

func (m *maker) close() {
	if m.source != nil {
		m.source.Close()
	}
	if m.target != nil {
		m.target.Close()
	}
}

func (m *maker) openSource(ctx context.Context) {
	opened, err := source.Open(ctx, m.config.Source)
	if err != nil {
		m.refuse(Source, "open", err)
		return
	}
	m.source = opened
	if m.now, err = opened.Now(ctx); err != nil {
		m.refuse(Source, "open", err)
		opened.Close()
		m.source = nil
	}
}

func (m *maker) openTarget(ctx context.Context) {
	opened, err := target.Open(ctx, m.config.Target)
	if err != nil {
		m.refuse(Target, "open", err)
		return
	}
	m.target = opened
	id := opened.Identity()
	m.ok(Target, "open", "OpenSearch "+id.Version+", cluster "+id.ClusterName)
}

func (m *maker) add(c Check) {
	c.Detail = strings.ReplaceAll(c.Detail, "\n", " ")
	m.plan.Checks = append(m.plan.Checks, c)
}

func (m *maker) ok(side Side, name, detail string) { m.add(Check{side, name, OK, detail, ""}) }

// refuse makes an error a no-go.
func (m *maker) refuse(side Side, name string, err error) {
	m.add(Check{side, name, NoGo, err.Error(), hint.Of(err)})
}

// unknown records what could not be looked at, with the consequence for the plan.
func (m *maker) unknown(side Side, name string, err error, consequence string) {
	m.add(Check{side, name, Unknown, err.Error() + ": " + consequence, hint.Of(err)})
}

// judge refuses, unless the error only says that this user may not look.
func (m *maker) judge(side Side, name string, err error, consequence string) {
	if target.IsForbidden(err) {
		m.unknown(side, name, err, consequence)
		return
	}
	m.refuse(side, name, err)
}
