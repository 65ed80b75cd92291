package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// TestCost measures on servers of its own, which it may tie to cores.
func TestCost(t *testing.T) {
	t.Setenv("SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_SHARDS", "1")
	before := allowedCores(t, os.Getpid())
	var out bytes.Buffer
	err := run(t.Context(), options{
		opensearch: testbed.DefaultOpenSearch, megabytes: 4, days: 2, rows: 30_000, rounds: 1, seed: 1, json: true, only: []string{costPart},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Parts) != 4 {
		t.Fatalf("%d parts", len(got.Parts))
	}
	if after := allowedCores(t, os.Getpid()); after != before {
		t.Errorf("this process may run on cores %q afterwards, %q before", after, before)
	}
	for i, want := range []struct {
		series, verdicts int
		skippable        bool
		rows             int64
	}{
		{2, 1, runtime.GOOS != "linux" || runtime.NumCPU() == 1, got.Parts[2].Rows},
		{3, 4, false, sinkTimes * got.Parts[2].Rows},
		{2, 1, false, 4_000_000 / rowBytes},
		{4, 1, true, got.Parts[2].Rows}, // there may be no Python
	} {
		p := got.Parts[i]
		switch {
		case p.Skipped != "" && !want.skippable:
			t.Errorf("%s: skipped: %s", p.Name, p.Skipped)
		case p.Skipped != "":
			t.Logf("%s: skipped: %s", p.Name, p.Skipped)
		case len(p.Series) != want.series || len(p.Verdicts) != want.verdicts || p.Rows != want.rows:
			t.Errorf("%s: %d series, %d verdicts, %d rows", p.Name, len(p.Series), len(p.Verdicts), p.Rows)
		default:
			checkCosts(t, p)
		}
	}
}

// checkCosts wants CPU time of all that had to work.
func checkCosts(t *testing.T, p *part) {
	t.Helper()
	isSink := p.Name == "Into a sink"
	var all sample
	for _, s := range p.Series {
		if len(s.Samples) != 1 {
			t.Fatalf("%s, %s: %d samples", p.Name, s.Name, len(s.Samples))
		}
		got, isProcess := s.Samples[0], strings.HasPrefix(s.Name, "tool") || strings.HasPrefix(s.Name, "opensearch-py")
		if got.Seconds <= 0 || isProcess != (got.PeakBytes > 0) || isProcess && got.CPUSeconds <= 0 || (isSink && isProcess) != (got.SinkCPU > 0) {
			t.Errorf("%s, %s: %+v", p.Name, s.Name, got)
		}
		all.PostgresCPU += got.PostgresCPU
		all.OpenSearchCPU += got.OpenSearchCPU
	}
	if runtime.GOOS == "linux" && (all.PostgresCPU <= 0 || all.OpenSearchCPU <= 0) {
		t.Errorf("%s: the servers used %+v", p.Name, all)
	}
}

// allowedCores are those of a process; empty where there is no Linux to tell.
func allowedCores(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "Cpus_allowed_list:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

func TestSkippedIsSaid(t *testing.T) {
	var out bytes.Buffer
	r := result{Parts: []*part{skipped("Against scripts", "install the peers: exit status 1:\n no  network")}}
	if err := r.writeTable(&out); err != nil {
		t.Fatal(err)
	}
	if want := "\nAgainst scripts: not measured: install the peers: exit status 1: no network\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q does not end with %q", out.String(), want)
	}
}
