package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/plan"
)

// errNoGo makes the exit code 4. The plan has said why.
var errNoGo = errors.New("the plan says no-go")

// planCommand looks and changes nothing.
type planCommand struct {
	sidesFlags    `embed:""`
	recordFlag    `embed:"" group:"Plan"`
	daysFlags     `embed:"" group:"Plan"`
	retentionFlag `embed:"" group:"Plan"`
	sendersFlag   `embed:"" group:"Plan"`
	objectFlag    `embed:""`

	Probe       bool    `help:"Measure the speed and the disk space with real nodes, in a scratch index behind no alias that is removed afterwards." group:"Plan"`
	MBPerSecond float64 `name:"mb-per-second" help:"Speed to expect, if it is not measured." placeholder:"N" group:"Plan"`
}

// Help is the long help of the verb.
func (planCommand) Help() string {
	return `Looks at the source, the target and the checkpoint and says go or no-go, each reason with its remedy.
It reads only, unless --probe is given. What this user may not look at is said to be unknown, and does not
by itself make a no-go.

Examples:
  nodestore-migrate plan --source postgres://sentry@db/sentry --target https://opensearch:9200
  nodestore-migrate plan --probe --retention 90 --target http://opensearch:9200
  nodestore-migrate plan --json --target http://opensearch:9200 | jq '.checks[] | select(.state == "no_go")'

` + exitCodes
}

func (c *planCommand) problems(found []string) []string {
	found = c.daysFlags.problems(c.targetFlags.problems(found))
	if c.MBPerSecond < 0 {
		found = append(found, fmt.Sprintf("--mb-per-second: %v is not positive", c.MBPerSecond))
	}
	return found
}

// Run prints the plan.
func (c *planCommand) Run(ctx context.Context, p *process) error {
	config, err := c.targetFlags.config(ctx, p)
	if err != nil {
		return err
	}
	config.Patience = lookPatience
	ctx, cancel := p.untilStopped(ctx)
	defer cancel()
	_, onTarget := c.index()
	made, err := plan.Make(ctx, plan.Config{
		Source: c.sourceFlags.config(p, 1), Target: config, Checkpoint: plan.Record{Name: c.Checkpoint, OnTarget: onTarget, Read: c.read}, Region: c.Region,
		Since: c.Since.Day, Until: c.Until.Day, Retention: max(c.Retention.n, 0),
		Probe: c.Probe, Senders: c.senders(), BytesPerSecond: c.MBPerSecond * 1e6,
	})
	if err != nil {
		return err
	}
	for i, check := range made.Checks {
		made.Checks[i].Remedy = cmp.Or(check.Remedy, remedy(check.Err)) + leverAdvice(check.Lever)
	}
	if c.JSON {
		err = json.NewEncoder(p.stdout).Encode(planObject{headed("plan"), made})
	} else {
		_, err = io.WriteString(p.stdout, planText(made))
	}
	if err != nil {
		return fmt.Errorf("print the plan: %w", err)
	}
	if !made.Go {
		return errNoGo
	}
	return nil
}

func planText(made plan.Plan) string {
	var out strings.Builder
	for _, side := range []plan.Side{plan.Source, plan.Target, plan.Checkpoint, plan.Forecast} {
		checksText(&out, made, side)
		if side == plan.Source {
			planDaysText(&out, made.Days)
		}
	}
	refused := made.Reasons(plan.NoGo)
	counts := fmt.Sprintf("warnings: %d, unknown: %d", len(made.Reasons(plan.Warning)), len(made.Reasons(plan.Unknown)))
	if made.Go {
		fmt.Fprintf(&out, "GO (%s)\n", counts)
		return out.String()
	}
	names := make([]string, len(refused))
	for i, c := range refused {
		names[i] = string(c.Side) + " " + words(c.Name)
	}
	fmt.Fprintf(&out, "NO-GO: %s (%s)\n", strings.Join(names, ", "), counts)
	return out.String()
}

// checkWidth is the column of the checks' names: the longest has 21 letters.
const checkWidth = 22

func checksText(out *strings.Builder, made plan.Plan, side plan.Side) {
	title := true
	for _, c := range made.Checks {
		if c.Side != side {
			continue
		}
		if title {
			fmt.Fprintln(out, strings.ToUpper(string(side[:1]))+string(side[1:]))
			title = false
		}
		state := words(string(c.State))
		if c.State == plan.NoGo {
			state = "NO-GO"
		}
		fmt.Fprintf(out, "  %-8s %-*s %s\n", state, checkWidth, words(c.Name), c.Detail)
		if c.Remedy != "" {
			fmt.Fprintf(out, "  %-8s %-*s -> %s\n", "", checkWidth, "", c.Remedy)
		}
	}
	if !title {
		out.WriteByte('\n')
	}
}

// shownDays is how many of the newest days a person is shown.
const shownDays = 14

func planDaysText(out *strings.Builder, days []plan.Day) {
	if len(days) == 0 {
		return
	}
	fmt.Fprintln(out, "Days, newest first (rows and bytes are estimates)")
	for i := len(days) - 1; i >= 0 && i >= len(days)-shownDays; i-- {
		d := days[i]
		rows := "?"
		if d.Rows >= 0 {
			rows = amount.Count(d.Rows)
		}
		there := "new"
		if d.Exists {
			there = "there"
		}
		fmt.Fprintf(out, "  %s %14s rows %10s  %-16s %s (%s)\n", d.Day, rows, amount.Size(d.Bytes), words(d.Fate), d.Index, there)
	}
	if more := len(days) - shownDays; more > 0 {
		fmt.Fprintf(out, "  and %d older ones; --json lists them\n", more)
	}
	out.WriteByte('\n')
}
