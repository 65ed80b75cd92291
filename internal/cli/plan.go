package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/plan"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// errNoGo makes the exit code 4. The plan has said why.
var errNoGo = errors.New("the plan says no-go")

// planCommand looks and changes nothing.
type planCommand struct {
	sourceFlags `embed:""`
	targetFlags `embed:""`

	Checkpoint  string        `help:"File of the run to resume, if there is one, or opensearch:NAME, an index on the target." env:"NODESTORE_CHECKPOINT" default:"nodestore-migrate.checkpoint" placeholder:"FILE" group:"Plan"`
	Since       dayValue      `help:"First UTC day to copy." env:"NODESTORE_SINCE" placeholder:"YYYY-MM-DD" group:"Plan"`
	Until       dayValue      `help:"First UTC day not to copy." env:"NODESTORE_UNTIL" placeholder:"YYYY-MM-DD" group:"Plan"`
	Retention   retentionDays `help:"Days that Sentry keeps; older ones are not copied. $SENTRY_EVENT_RETENTION_DAYS by default." env:"NODESTORE_RETENTION,SENTRY_EVENT_RETENTION_DAYS" placeholder:"DAYS" group:"Plan"`
	Probe       bool          `help:"Measure the speed and the disk space with real nodes, in a scratch index behind no alias that is removed afterwards." group:"Plan"`
	Senders     countValue    `help:"Bulk requests under way at the same time, for the probe." env:"NODESTORE_SENDERS" placeholder:"N" group:"Plan"`
	MBPerSecond float64       `name:"mb-per-second" help:"Speed to expect, if it is not measured." placeholder:"N" group:"Plan"`
	JSON        bool          `name:"json" help:"Print the plan as one JSON object, with every day." group:"Output"`
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
	found = c.targetFlags.problems(found)
	found = named(found, "since", c.Since.problem)
	found = named(found, "until", c.Until.problem)
	found = named(found, "retention", c.Retention.problem)
	found = named(found, "senders", c.Senders.problem)
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
	senders := c.Senders.n
	if senders == 0 {
		senders = DefaultSenders()
	}
	made, err := plan.Make(ctx, plan.Config{
		Source: c.sourceFlags.config(p, 1), Target: config, Checkpoint: c.checkpoint(), Region: c.Region,
		Since: c.Since.Day, Until: c.Until.Day, Retention: max(c.Retention.n, 0),
		Probe: c.Probe, Senders: senders, BytesPerSecond: c.MBPerSecond * 1e6,
	})
	if err != nil {
		return err
	}
	for i, check := range made.Checks {
		made.Checks[i].Remedy += flagsOf(check.Lever)
	}
	if err := printPlan(p.stdout, made, c.JSON); err != nil {
		return fmt.Errorf("print the plan: %w", err)
	}
	if !made.Go {
		return errNoGo
	}
	return nil
}

// flagsOf names the flags for what a remedy is about.
func flagsOf(lever plan.Lever) string {
	switch lever {
	case plan.NameRegion:
		return " (--region NAME)"
	case plan.LookBackFurther:
		return " (--overlap)"
	case plan.ChooseRows:
		return " (--source, --table, --since, --until)"
	case plan.ChooseDays:
		return " (--since, --retention)"
	case plan.ChooseTable:
		return " (--table)"
	case plan.ChooseCodec:
		return " (--codec zstd)"
	case plan.ChooseShards:
		return " (--shards-per-day)"
	case plan.MeasureSpeed:
		return " (--probe, --mb-per-second)"
	case plan.RestoreSettings:
		return " (--restore-settings)"
	case plan.NameCheckpoint:
		return " (--checkpoint, --restore-settings)"
	}
	return ""
}

func (c *planCommand) checkpoint() plan.Record {
	_, onTarget := checkpointIndex(c.Checkpoint)
	return plan.Record{Name: c.Checkpoint, OnTarget: onTarget, Read: func(ctx context.Context, to *target.Target) (checkpoint.State, error) {
		return readState(ctx, c.Checkpoint, to)
	}}
}

func printPlan(w io.Writer, made plan.Plan, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(made)
	}
	_, err := io.WriteString(w, planText(made))
	return err
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
			fmt.Fprintf(out, "%s\n", strings.ToUpper(string(side[:1]))+string(side[1:]))
			title = false
		}
		fmt.Fprintf(out, "  %-8s %-*s %s\n", stateText(c.State), checkWidth, words(c.Name), c.Detail)
		if c.Remedy != "" {
			fmt.Fprintf(out, "  %-8s %-*s -> %s\n", "", checkWidth, "", c.Remedy)
		}
	}
	if !title {
		out.WriteByte('\n')
	}
}

func stateText(state plan.State) string {
	switch state {
	case plan.NoGo:
		return "NO-GO"
	case plan.Warning:
		return "warning"
	case plan.Unknown:
		return "unknown"
	}
	return "ok"
}

// words writes a name of JSON for a person.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

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
			rows = count(d.Rows)
		}
		there := "new"
		if d.Exists {
			there = "there"
		}
		fmt.Fprintf(out, "  %s %14s rows %10s  %-16s %s (%s)\n", d.Day, rows, size(d.Bytes), words(d.Fate), d.Index, there)
	}
	if more := len(days) - shownDays; more > 0 {
		fmt.Fprintf(out, "  and %d older ones; --json lists them\n", more)
	}
	out.WriteByte('\n')
}
