package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
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
	sunk, err := b.newSink(ctx)
	if err != nil {
		return nil, err
	}
	for _, measure := range []func(context.Context, int, *replay, *sink) (*part, error){b.measurePinned, b.measureSink, b.measureShared, b.measurePeers} {
		p, err := measure(ctx, rounds, ready, sunk)
		if err != nil {
			return nil, err
		}
		if p != nil {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// measurePinned ties OpenSearch to the first core and all else to the others.
func (b *bed) measurePinned(ctx context.Context, rounds int, ready *replay, _ *sink) (*part, error) {
	if runtime.GOOS != "linux" || runtime.NumCPU() < 2 || b.openSearchPID == 0 || b.postgresPID == 0 {
		say("Not measured: OpenSearch on a core of its own wants Linux, two cores, and servers that are started here.")
		return nil, nil
	}
	last := runtime.NumCPU() - 1
	all, others := fmt.Sprintf("0-%d", last), fmt.Sprintf("1-%d", last)
	rest := []int{b.postgresPID, os.Getpid()}
	defer func() {
		for _, pid := range append(rest, b.openSearchPID) {
			_ = pin(context.WithoutCancel(ctx), pid, all) // a server that has ended needs it no more
		}
	}()
	if err := pin(ctx, b.openSearchPID, "0"); err != nil {
		return nil, err
	}
	for _, pid := range rest {
		if err := pin(ctx, pid, others); err != nil {
			return nil, err
		}
	}
	replayed := &series{Name: "replay of ready-made bodies", measure: b.fresh(ready.run)}
	quick := &series{Name: "tool, --check quick", measure: b.fresh(b.copyAll())}
	p := b.newPart("OpenSearch on a core of its own", replayed, quick)
	if err := inRounds(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{atLeast("speed, of replay", speed(quick)/speed(replayed), wantedPinned)}
	return p, nil
}

// measureSink has nobody take what is sent.
func (b *bed) measureSink(ctx context.Context, rounds int, _ *replay, sunk *sink) (*part, error) {
	copied := &series{Name: "COPY to nowhere", measure: b.watched(b.copyToNowhere)}
	quick := &series{Name: "tool, --check quick", measure: b.fresh(sunk.run(b))}
	full := &series{Name: "tool, --check full", measure: b.fresh(sunk.run(b, "--check", "full"))}
	p := b.newPart("Into a sink", copied, quick, full)
	if err := inRounds(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	peaks := append(quick.sorted(sample.peakMebibytes), full.sorted(sample.peakMebibytes)...)
	p.Verdicts = []verdict{
		atLeast("speed, of COPY to nowhere", speed(quick)/speed(copied), wantedSink),
		atMost("CPU s per GB, --check quick", quick.median(sample.cpuPerGigabyte), wantedQuickCPU),
		atMost("CPU s per GB, --check full", full.median(sample.cpuPerGigabyte), wantedFullCPU),
		atMost("peak memory in MiB", max(peaks[0], peaks[len(peaks)-1]), ownMebibytes),
	}
	return p, nil
}

// measureShared has all on the same cores, with the codec that costs the least here.
func (b *bed) measureShared(ctx context.Context, rounds int, ready *replay, _ *sink) (*part, error) {
	const codec = "default"
	replayed := &series{Name: "replay of ready-made bodies", measure: b.fresh(ready.with(codec).run)}
	quick := &series{Name: "tool, --check quick", measure: b.fresh(b.copyAll("--codec", codec))}
	p := b.newPart("On shared cores, codec "+codec, replayed, quick)
	if err := inRounds(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{atLeast("speed, of replay", speed(quick)/speed(replayed), wantedShared)}
	return p, nil
}

// measurePeers has scripts do the same, with the template as the backend writes it.
func (b *bed) measurePeers(ctx context.Context, rounds int, _ *replay, _ *sink) (*part, error) {
	scripts, err := b.newPeers(ctx)
	if err != nil {
		return nil, err
	}
	quick := &series{Name: "tool, --check quick", measure: b.fresh(b.copyAll())}
	chosen := &series{Name: "tool, --codec default --shards-per-day 1", measure: b.fresh(b.copyAll("--codec", "default", "--shards-per-day", "1"))}
	bulk := &series{Name: "opensearch-py, helpers.bulk", measure: b.fresh(scripts.run("bulk"))}
	parallel := &series{Name: "opensearch-py, parallel_bulk", measure: b.fresh(scripts.run("parallel"))}
	p := b.newPart("Against scripts", quick, chosen, bulk, parallel)
	if err := inRounds(ctx, rounds, p.Series); err != nil {
		return nil, err
	}
	p.Verdicts = []verdict{atLeast("speed, of the best script's", speed(quick)/max(speed(bulk), speed(parallel)), wantedPeers)}
	return p, nil
}

func (b *bed) newPart(name string, list ...*series) *part {
	return &part{Name: name, Rows: b.rows, Bytes: b.bytes, Series: list, columns: perByte()}
}

func speed(s *series) float64 { return s.median(sample.megabytesPerSecond) }
