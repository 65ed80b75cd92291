package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// scaleTimes the rows of the other tables of small rows, over scaleDays.
	scaleTimes = 20
	scaleDays  = 730

	wantedPlan  = 5.0  // seconds
	wantedFirst = 10.0 // likewise, until the first node is sent
)

// measureScale measures what many rows and many days cost, and not many bytes: a
// plan, the start of a copy, and a copy into a sink, whose memory counts.
func (b *bed) measureScale(ctx context.Context, o options) (*part, error) {
	of, err := b.fillScale(ctx, o.rows*scaleTimes)
	if err != nil {
		return nil, err
	}
	restore, err := b.allowShards(ctx)
	if err != nil {
		return nil, err
	}
	b.later(restore)
	s, err := b.newSink(ctx, of)
	if err != nil {
		return nil, err
	}
	plan := &series{Name: "tool, plan", measure: b.fresh(b.plan(of))}
	first := &series{Name: "tool, migrate until its first node is sent", measure: b.fresh(b.untilFirstNode(of))}
	all := &series{Name: "tool, migrate into a sink", measure: b.fresh(s.run("--shards-per-day", "1"))}
	p := &part{
		Name: "Many rows, many days", Rows: of.rows, Bytes: of.bytes, Days: len(of.days), Series: []*series{plan, first, all},
		columns: []column{
			{"s", "%.2f", sample.seconds},
			{"CPU s", "%.2f", sample.cpuSeconds},
			{"OpenSearch", "%.1f", sample.openSearchSeconds},
			{"PostgreSQL", "%.1f", sample.postgresSeconds},
			{"peak MiB", "%.0f", sample.peakMebibytes},
			{"checkpoint kB", "%.0f", sample.checkpointKilobytes},
		},
	}
	if err := inRounds(ctx, o.rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{
		atMost("seconds of a plan", plan.median(sample.seconds), wantedPlan),
		atMost("seconds until the first node is sent", first.median(sample.seconds), wantedFirst),
		atMost("peak memory in MiB", all.sorted(sample.peakMebibytes)[len(all.Samples)-1], ownMebibytes),
	}
	return p, nil
}

// fillScale makes a table of small rows, evenly over the days.
func (b *bed) fillScale(ctx context.Context, rows int) (of filling, err error) {
	say(fmt.Sprintf("Making %d small rows ...", rows))
	conn, err := pgx.Connect(ctx, b.source)
	if err != nil {
		return of, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	days := newestFirst(scaleDays)
	for i := range days {
		days[i] -= scaleDays // else the last are still to come
	}
	return b.fillSmall(ctx, conn, filling{table: table + "_scale", days: days, rows: int64(rows)})
}

// allowShards has the cluster take as many shards as there are days, until the
// benchmark ends.
func (b *bed) allowShards(ctx context.Context) (restore func(context.Context) error, err error) {
	set := func(ctx context.Context, value string) error {
		body := strings.NewReader(`{"persistent":{"cluster.max_shards_per_node":` + value + `}}`)
		_, err := b.request(ctx, http.DefaultClient, call{http.MethodPut, "/_cluster/settings", body})
		return err
	}
	return func(ctx context.Context) error { return set(ctx, "null") }, set(ctx, "10000")
}

func (b *bed) plan(of filling) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		j, err := b.newJob(of.table)
		if err != nil {
			return sample{}, err
		}
		var got struct {
			Go   bool
			Days []struct{}
		}
		s, err := j.tool(ctx, &got, "plan", "--target", j.target)
		if err == nil && (!got.Go || len(got.Days) != len(of.days)) {
			err = fmt.Errorf("the plan: go is %t for %d days of %d", got.Go, len(got.Days), len(of.days))
		}
		s.bytes, s.nodes = of.bytes, of.rows
		return s, err
	}
}

// untilFirstNode runs the tool until a bulk request comes, which is not answered.
func (b *bed) untilFirstNode(of filling) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		j, err := b.newJob(of.table)
		if err != nil {
			return sample{}, err
		}
		came := make(chan struct{}, 1)
		via, err := b.newProxy(ctx, func(_ http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/_bulk") {
				return false
			}
			select {
			case came <- struct{}{}:
			default: // it is not the first
			}
			<-r.Context().Done()
			return true
		})
		if err != nil {
			return sample{}, err
		}
		return j.until(ctx, came, "migrate", "--target", via.url, "--shards-per-day", "1", "--compact", "never")
	}
}

// until runs the tool until something has come, and kills it then.
func (j *job) until(ctx context.Context, came <-chan struct{}, args ...string) (measured sample, err error) {
	cmd := exec.CommandContext(ctx, j.binary(), j.arguments(args...)...)
	cmd.Env = environment()
	var said strings.Builder
	cmd.Stderr = &said
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, fmt.Errorf("start the tool: %w", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- cmd.Wait() }()
	select {
	case err := <-failed:
		return sample{}, fmt.Errorf("the tool ended before all was sent: %w: %s", errors.Join(err, ctx.Err()), said.String())
	case <-came:
	}
	measured = sample{Seconds: time.Since(started).Seconds(), PeakBytes: highWater(cmd.Process.Pid)}
	times, err := timesOf(cmd.Process.Pid)
	measured.CPUSeconds = float64(times.own) / ticksPerSecond
	if saved, statErr := os.Stat(j.checkpoint); statErr == nil {
		measured.CheckpointBytes = saved.Size()
	}
	err = errors.Join(err, cmd.Process.Kill())
	if killed := <-failed; killed == nil {
		err = errors.Join(err, errors.New("the tool ended well before it was killed"))
	}
	return measured, err
}
