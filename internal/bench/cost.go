package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
)

// What is wanted of the tool's own cost.
const (
	wantedPinned   = 0.97 // of replay, with OpenSearch on a core of its own
	wantedShared   = 0.90 // of replay, on shared cores with codec default
	wantedSink     = 0.80 // of COPY to nowhere, into a sink
	wantedPeers    = 1.3  // times the best script
	wantedQuickCPU = 1.3  // seconds per GB
	wantedFullCPU  = 8    // likewise, with --check full
	ownMebibytes   = 150
)

// costs is how the tool's own cost is measured.
type costs struct {
	*bed
	ready  *replay
	rounds int
}

// measureCost measures what the tool itself costs: beside a cluster that has a core to
// itself, into a sink, on shared cores with a codec that costs less, and against scripts.
func (b *bed) measureCost(ctx context.Context, rounds int) (parts []*part, err error) {
	say("Making bulk bodies ...")
	ready, err := newReplay(ctx, b)
	if err != nil {
		return nil, err
	}
	say("Warming up the servers ...")
	if _, err := b.fresh(ready.run)(ctx); err != nil {
		return nil, err
	}
	c := &costs{b, ready, rounds}
	for _, measure := range []func(context.Context) (*part, error){c.measurePinned, c.measureSink, c.measureShared, c.measurePeers} {
		p, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// measurePinned ties OpenSearch to the first core and all else to the others.
func (c *costs) measurePinned(ctx context.Context) (p *part, err error) {
	const name = "OpenSearch on a core of its own"
	last := runtime.NumCPU() - 1
	if runtime.GOOS != "linux" || last == 0 || c.openSearchPID == 0 || c.postgresPID == 0 {
		return skipped(name, "it takes Linux, two cores, and servers that are started here"), nil
	}
	all, others := fmt.Sprintf("0-%d", last), fmt.Sprintf("1-%d", last)
	rest := slices.AppendSeq([]int{c.postgresPID, os.Getpid()}, maps.Keys(childrenOf(c.postgresPID)))
	if err := pin(ctx, "0", c.openSearchPID); err != nil {
		return skipped(name, err.Error()), nil
	}
	defer func() {
		if unpinned := pin(context.WithoutCancel(ctx), all, append(rest, c.openSearchPID)...); err == nil {
			err = unpinned
		}
	}()
	if err := pin(ctx, others, rest...); err != nil {
		return nil, err
	}
	// The tool sees fewer cores: its defaults are not to become others than replay's.
	same := []string{"--readers", strconv.Itoa(c.readers), "--senders", strconv.Itoa(c.senders)}
	replayed := &series{Name: "replay of ready-made bodies", measure: c.fresh(c.ready.run)}
	quick := &series{Name: "tool, --check quick", measure: c.fresh(c.copyAll(same...))}
	p = c.newPart(name, replayed, quick)
	if err := backAndForth(ctx, c.rounds, p.Series); err != nil {
		return nil, err
	}
	p.Spread = replayed.spread()
	p.Verdicts = []verdict{atLeast("speed, of replay", speed(quick)/speed(replayed), wantedPinned)}
	return p, nil
}

// measureSink has nobody take what is sent.
func (c *costs) measureSink(ctx context.Context) (*part, error) {
	from, err := c.fillSink(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.newSink(ctx, from)
	if err != nil {
		return nil, err
	}
	copied := &series{Name: "COPY to nowhere", measure: c.watched(c.copyToNowhere(s.from))}
	quick := &series{Name: "tool, --check quick", measure: c.fresh(s.run())}
	full := &series{Name: "tool, --check full", measure: c.fresh(s.run("--check", "full"))}
	p := c.newPart("Into a sink", copied, quick, full)
	p.Rows, p.Bytes, p.Days = s.from.rows, s.from.bytes, len(s.from.days)
	p.columns = append(p.columns, column{"sink", "%.2f", sample.sinkPerGigabyte})
	if err := backAndForth(ctx, c.rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{
		atLeast("speed, of COPY to nowhere", speed(quick)/speed(copied), wantedSink),
		atMost("CPU s per GB, --check quick", quick.median(sample.cpuPerGigabyte), wantedQuickCPU),
		atMost("CPU s per GB, --check full", full.median(sample.cpuPerGigabyte), wantedFullCPU),
		// The highest, not the median: it has to fit every time.
		atMost("peak memory in MiB", slices.Max(slices.Concat(quick.sorted(sample.peakMebibytes), full.sorted(sample.peakMebibytes))), ownMebibytes),
	}
	return p, nil
}

// measureShared has all on the same cores, with the codec that costs the least here.
func (c *costs) measureShared(ctx context.Context) (*part, error) {
	const codec = "default"
	replayed := &series{Name: "replay of ready-made bodies", measure: c.fresh(c.ready.with(codec).run)}
	quick := &series{Name: "tool, --check quick", measure: c.fresh(c.copyAll("--codec", codec))}
	p := c.newPart("On shared cores, codec "+codec, replayed, quick)
	if err := backAndForth(ctx, c.rounds, p.Series); err != nil {
		return nil, err
	}
	p.Spread = replayed.spread()
	p.Verdicts = []verdict{atLeast("speed, of replay", speed(quick)/speed(replayed), wantedShared)}
	return p, nil
}

// measurePeers has scripts do the same, with the template as the backend writes it.
func (c *costs) measurePeers(ctx context.Context) (*part, error) {
	const name = "Against scripts"
	scripts, err := c.newPeers(ctx)
	if err != nil {
		return skipped(name, err.Error()), ctx.Err()
	}
	quick := &series{Name: "tool, --check quick", measure: c.fresh(c.copyAll())}
	chosen := &series{Name: "tool, --codec default --shards-per-day 1", measure: c.fresh(c.copyAll("--codec", "default", "--shards-per-day", "1"))}
	bulk := &series{Name: "opensearch-py, helpers.bulk", measure: c.fresh(scripts.run("bulk"))}
	parallel := &series{Name: "opensearch-py, parallel_bulk", measure: c.fresh(scripts.run("parallel"))}
	p := c.newPart(name, quick, chosen, bulk, parallel)
	if err := backAndForth(ctx, c.rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{atLeast("speed, of the best script's", speed(quick)/max(speed(bulk), speed(parallel)), wantedPeers)}
	return p, nil
}

func (b *bed) newPart(name string, list ...*series) *part {
	return &part{Name: name, Rows: b.rows, Bytes: b.bytes, Series: list, columns: perByte()}
}

// skipped is a part that cannot be measured here. The table says why.
func skipped(name, reason string) *part { return &part{Name: name, Skipped: reason} }

func speed(s *series) float64 { return s.median(sample.megabytesPerSecond) }
