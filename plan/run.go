package plan

import (
	"context"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// run is what every part of a plan works with.
type run struct {
	config Config
	plan   Plan
	source *source.Source    // nil: it could not be opened
	target *target.Target    // nil: it could not be opened
	state  *checkpoint.State // nil: there is none yet, or it could not be read
	now    int64             // the source's clock, µs
}

// look takes one look after the other until ctx ends.
func (r *run) look(ctx context.Context, looks ...func(context.Context)) {
	for _, look := range looks {
		if ctx.Err() == nil {
			look(ctx)
		}
	}
}

func (r *run) close() {
	if r.source != nil {
		r.source.Close()
	}
	if r.target != nil {
		r.target.Close()
	}
}

func (r *run) add(c Check) {
	c.Detail = strings.ReplaceAll(c.Detail, "\n", " ")
	r.plan.Checks = append(r.plan.Checks, c)
}

func (r *run) ok(side Side, name, detail string) {
	r.add(Check{Side: side, Name: name, State: OK, Detail: detail})
}

func (r *run) warn(side Side, name, detail, remedy string) {
	r.add(Check{Side: side, Name: name, State: Warning, Detail: detail, Remedy: remedy})
}

func (r *run) noGo(side Side, name, detail, remedy string) {
	r.add(Check{Side: side, Name: name, State: NoGo, Detail: detail, Remedy: remedy})
}

func (r *run) unknown(side Side, name, detail, remedy string) {
	r.add(Check{Side: side, Name: name, State: Unknown, Detail: detail, Remedy: remedy})
}

// refuse makes an error a no-go.
func (r *run) refuse(side Side, name string, err error) {
	r.add(Check{Side: side, Name: name, State: NoGo, Detail: err.Error(), Remedy: hint.Of(err), Err: err})
}

// unseen records what could not be looked at, with the consequence for the plan.
func (r *run) unseen(side Side, name string, err error, consequence string) {
	r.add(Check{Side: side, Name: name, State: Unknown, Detail: err.Error() + ": " + consequence, Remedy: hint.Of(err), Err: err})
}

// refuseUnlessHidden refuses, unless the error only says that this user may not look.
func (r *run) refuseUnlessHidden(side Side, name string, err error, consequence string) {
	if cluster.IsForbidden(err) {
		r.unseen(side, name, err, consequence)
		return
	}
	r.refuse(side, name, err)
}

// days are those that are planned, or today, in order.
func (r *run) days() []node.Day {
	days := make([]node.Day, 0, len(r.plan.Days))
	for _, day := range r.plan.Days {
		days = append(days, day.planned)
	}
	if len(days) == 0 {
		return []node.Day{node.DayOf(r.now)}
	}
	return days
}
