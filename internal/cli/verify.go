package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
	"github.com/nodestore-migrate/nodestore-migrate/verify/repair"
	"github.com/nodestore-migrate/nodestore-migrate/verify/report"
)

// verifyCommand proves what was copied, or lists what is wrong.
type verifyCommand struct {
	sidesFlags  `embed:""`
	recordFlag  `embed:"" group:"Verify"`
	daysFlags   `embed:"" group:"Verify"`
	acceptFlag  `embed:"" group:"Verify"`
	limitFlags  `embed:"" group:"Limits"`
	metricFlags `embed:"" group:"Output"`
	outputFlags `embed:"" group:"Output"`

	Level         string       `help:"How much is compared: ${enum}." enum:"counts,ids,sample,full" default:"sample" group:"Verify"`
	Confidence    percentValue `help:"Of the statement about the sample; ${default} by default." default:"95%" placeholder:"PERCENT" group:"Sample"`
	MaxDefects    percentValue `help:"Share of defects that a clean sample rules out, which sets its size; ${default} by default." default:"0.003%" placeholder:"PERCENT" group:"Sample"`
	Seed          uint64       `help:"Which nodes are drawn: the same seed draws the same, until a sample has found a defect." default:"1" placeholder:"N" group:"Sample"`
	Subset        subsetValue  `help:"With --level full: the n-th of t parts of the payloads; all t add up in the checkpoint." placeholder:"N/T" group:"Verify"`
	Workers       countValue   `help:"Questions that are asked at the same time; ${default} by default." default:"4" placeholder:"N" group:"Verify"`
	AcceptRetired int64        `name:"accept-out-of-retention" help:"Give up this many rows, at most, of days that were passed over as out of retention but are not covered by the retention that migrate was last given." placeholder:"N" group:"Verify"`
	RequireSafe   bool         `help:"Exit with 3 unless the verdict is that the old table is safe to drop." group:"Verify"`
	Report        []string     `help:"Write a report: a file that ends in .html, .json or .md. Can be given several times." placeholder:"FILE" group:"Output"`
	Repair        bool         `help:"Copy again what is missing or older, remove stale copies, and verify those again." group:"Repair"`
	DryRun        bool         `help:"With --repair: only say what it would do." group:"Repair"`
}

// Help is the long help of the verb.
func (verifyCommand) Help() string {
	return `Compares the source with the target. counts: numbers of each day. ids: every node is there, once, in its day,
and nothing else. sample: ids, and the payloads of a random sample. full: ids, and every payload. What is found is
listed in FILE.findings.jsonl beside the checkpoint. After a crash or Ctrl-C the same command resumes.
Use --require-safe before anything is dropped: without it, 0 only means that nothing was found.

Examples:
  nodestore-migrate verify --target https://opensearch:9200 --report verify.html --report verify.json
  nodestore-migrate verify --target https://opensearch:9200 --level full --subset 1/12
  nodestore-migrate verify --target https://opensearch:9200 --repair --dry-run
  nodestore-migrate verify --target https://opensearch:9200 --accept-rejected pickle,empty --report verify.md
  nodestore-migrate verify --target https://opensearch:9200 --require-safe && echo "the table may be dropped"

` + exitCodes
}

func (c *verifyCommand) problems(found []string) []string {
	found = c.limitFlags.problems(c.daysFlags.problems(c.targetFlags.problems(found)))
	if c.Subset.Of != 0 && c.Level != string(verify.Full) {
		found = append(found, "--subset goes with --level full")
	}
	if c.DryRun && !c.Repair {
		found = append(found, "--dry-run goes with --repair")
	}
	if c.Repair && c.Subset.Of != 0 {
		found = append(found, "--repair goes with all payloads: leave --subset away once its parts are compared")
	}
	if c.Repair && c.Level == string(verify.Counts) {
		found = append(found, "--repair needs to know which nodes: --level ids, sample or full")
	}
	if c.AcceptRetired < 0 {
		found = append(found, "--accept-out-of-retention is a number of rows, not below 0")
	}
	files := []written{{"--log-file", c.LogFile}, {"--control", c.Control}}
	for _, name := range c.Report {
		if !slices.Contains(report.Forms(), filepath.Ext(name)) {
			found = append(found, fmt.Sprintf("--report: %q does not end in %s", name, strings.Join(report.Forms(), ", ")))
		}
		files = append(files, written{"--report", name})
	}
	return c.ownFiles(found, files...)
}

// These make the exit code 3. The summary has said what was found.
var (
	errFindings = fmt.Errorf("%w: there are findings", errRejected)
	errUnsafe   = fmt.Errorf("%w: not safe to drop the old table", errRejected)
)

// Run compares, writes the reports, and repairs if that was asked for.
func (c *verifyCommand) Run(ctx context.Context, p *process) (err error) {
	for _, name := range c.Report {
		if err := verify.CheckWritable(name); err != nil {
			return err
		}
	}
	shown, err := newDisplay(p, c.outputFlags)
	if err != nil {
		return err
	}
	defer func() { shown.close(err) }()
	found, fates, err := c.compare(ctx, p, &verifyDisplay{display: shown, stdout: p.stdout})
	if found != nil {
		err = errors.Join(c.print(p, found, fates), err)
	}
	switch {
	case err != nil:
		return err
	case found.Findings.Total > 0, len(found.Lost) > 0:
		return errFindings
	case c.RequireSafe && !found.Verdict.SafeToDrop:
		return errUnsafe
	}
	return nil
}

// compare compares and writes the reports, and closes all before anything is said: the
// result is the last line. fates are the migration's.
func (c *verifyCommand) compare(ctx context.Context, p *process, show *verifyDisplay) (found *verify.Report, fates node.Fates, err error) {
	opening, opened := p.untilStopped(ctx)
	s, err := c.open(opening, p, show)
	opened()
	if err != nil {
		return nil, fates, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	found, v, err := c.governed(ctx, p, s, show)
	if errors.Is(err, verify.ErrInterrupted) {
		return nil, fates, migrate.ErrInterrupted
	}
	if err != nil {
		return nil, fates, err
	}
	found.Command, found.NextSteps = withoutPasswords(p.args), append(found.NextSteps, Steps(found)...)
	for _, name := range c.Report { // all that can be written
		err = errors.Join(err, report.Write(found, name))
	}
	if err != nil {
		return nil, fates, errors.Join(err, v.Undelivered(ctx))
	}
	s.Checkpoint.View(func(state *checkpoint.State) {
		if state.Unbounded != nil {
			fates.Add(*state.Unbounded)
		}
		for _, d := range state.Days {
			fates.Add(d.Fates)
		}
	})
	return found, fates, nil
}

// governed runs the verification within the limits. Meanwhile it answers Prometheus, and
// a person who sends SIGUSR1.
func (c *verifyCommand) governed(ctx context.Context, p *process, s *session, show *verifyDisplay) (found *verify.Report, v *verify.Verification, err error) {
	options := c.options(p, show)
	tell := func(kind migrate.Kind) func(string) {
		return func(text string) { show.event(verify.Event{Kind: verify.Kind(kind), Cause: text}) }
	}
	g := c.govern(c.Workers.n, verifyBytes, tell(heldEvent))
	options.Gate, options.BytesPerSecond = g, c.MaxMBPerSecond*1e6
	v = verify.New(verify.Parts{Source: s.Source, Target: s.Target, Checkpoint: s.Checkpoint}, options)
	if c.MetricsAddr != "" {
		m := newVerifyMetrics(v, s, g)
		served, serveErr := serveMetrics(c.MetricsAddr, m, m.events, m.findings)
		if serveErr != nil {
			return nil, nil, serveErr
		}
		defer func() { err = errors.Join(err, served()) }()
		show.hear(m.event)
	}
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { c.watchFile(watching, g, tell(limitsEvent), tell(migrate.Warning)) })
	watcher.Go(func() { watchStrain(watching, g, s.Source, tell(migrate.Warning)) })
	defer watcher.Wait()
	defer stop()
	defer show.start(v, g)()
	found, err = v.Run(ctx)
	return found, v, err
}

// verifyBytes is about the most that one question reads.
const verifyBytes = 2 << 20

func (c *verifyCommand) options(p *process, show *verifyDisplay) verify.Options {
	o := verify.Options{
		Level: verify.Level(c.Level), Since: c.Since.Day, Until: c.Until.Day,
		Confidence: c.Confidence.share, MaxDefects: c.MaxDefects.share, Seed: c.Seed, Subset: c.Subset.Subset,
		Workers: c.Workers.n, RejectedList: c.rejected(), Findings: c.findings(),
		Accept: c.AcceptRejected.list, GiveUp: c.AcceptRetired, Stop: p.stop, Notify: show.event,
	}
	switch {
	case c.DryRun:
		o.Repair = repair.Say
	case c.Repair:
		o.Repair = repair.Do
	}
	return o
}

// open reaches both sides, and opens the checkpoint. It makes none where there is none.
func (c *verifyCommand) open(ctx context.Context, p *process, show *verifyDisplay) (*session, error) {
	index, onTarget := c.index()
	if !onTarget {
		if _, err := checkpoint.Read(c.Checkpoint); err != nil {
			return nil, err
		}
	}
	s, err := c.reach(ctx, p, c.Workers.n+1, func(cause string, pause time.Duration) {
		show.event(verify.Event{Kind: verify.Waiting, Cause: cause, Pause: pause})
	})
	if err != nil {
		return nil, err
	}
	if onTarget {
		err = c.openWhole(ctx, s, index)
	} else {
		err = s.openFile(ctx, c.Checkpoint)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openWhole opens the checkpoint of a migration as a whole in an index, and puts a copy
// of its list of rejected nodes into the working directory.
func (c *verifyCommand) openWhole(ctx context.Context, s *session, index string) error {
	team := migrate.Team{Source: s.Source, Target: s.Target, Records: records.In(s.Target, index), Binding: s.bound, Shards: 1}
	place := onindex.Place{Records: team.Records, Key: team.Whole()}
	_, begun, err := team.Look(ctx)
	if begun {
		_, err = team.Join(ctx)
	}
	if err != nil {
		return err
	}
	state, err := readIndex(ctx, place)
	if !begun || errors.Is(err, fs.ErrNotExist) || err == nil && state.CopyUntil == 0 {
		return hint.Add(fmt.Errorf("index %s has no checkpoint of a migration to alias %s", index, s.Target.Backend().Alias),
			"run migrate with the same --checkpoint first; the last of several shards has to finish it")
	}
	if err != nil {
		return err
	}
	if _, err := s.openIndex(ctx, place); err != nil {
		return err
	}
	file, err := os.OpenFile(c.rejected(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		err = onindex.EachRejected(ctx, place, s.rejectsSize().List, func(lines []byte) error {
			_, err := file.Write(lines)
			return err
		})
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return hint.Add(fmt.Errorf("copy the list of rejected nodes: %w", err),
			"the list is copied into the working directory: make room there and run the same command again")
	}
	return nil
}

// verifySummary is what a verification came to, for a program.
type verifySummary struct {
	head
	verify.Verdict
	Level    verify.Level          `json:"level"`
	Nodes    int64                 `json:"nodes"` // that are to be found
	Fates    node.Fates            `json:"fates"` // of the migration
	Retired  verify.RetiredReport  `json:"out_of_retention"`
	Lost     []verify.LostDay      `json:"lost_days"`
	Findings verify.FindingsReport `json:"findings"`
	Bound    *verify.Bound         `json:"bound,omitempty"`
	Seconds  float64               `json:"seconds"`
}

// print prints the summary.
func (c *verifyCommand) print(p *process, r *verify.Report, fates node.Fates) error {
	if !c.JSON {
		_, err := fmt.Fprint(p.stdout, verifyText(r))
		return err
	}
	return json.NewEncoder(p.stdout).Encode(verifySummary{
		head: headed("summary"), Verdict: r.Verdict, Level: r.Level, Nodes: r.Total.Source - r.Total.Rejected, Fates: fates,
		Retired: r.Retired, Lost: r.Lost, Findings: r.Findings, Bound: r.Bound, Seconds: r.Seconds,
	})
}

// verifyText is the summary for a person.
func verifyText(r *verify.Report) string {
	var out strings.Builder
	fmt.Fprintln(&out, r.Verdict.Sentence)
	for _, class := range verify.Classes() {
		if n := r.Findings.Counts[class]; n > 0 {
			fmt.Fprintf(&out, "  %-14s%12s\n", words(string(class)), amount.Count(n))
		}
	}
	if r.Findings.Total > 0 {
		fmt.Fprintf(&out, "They are listed in %s.\n", r.Findings.File)
	}
	for _, d := range r.Lost {
		fmt.Fprintf(&out, "  lost day %s, index %s, rows: %s\n", d.Day, d.Index, amount.Count(d.Rows))
	}
	for _, reason := range r.Verdict.Because {
		fmt.Fprintln(&out, "Not yet safe to drop the old table:", reason)
	}
	for _, step := range r.NextSteps {
		fmt.Fprintln(&out, "->", step)
	}
	return out.String()
}
