package main

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

func TestMain(m *testing.M) { os.Exit(testservers.Run(m)) }

// TestRun keeps the benchmark from rotting: a small run on real servers makes
// every measurement, and leaves nothing behind on servers that it was given.
func TestRun(t *testing.T) {
	t.Setenv("SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_SHARDS", "1") // a third of the time
	o := options{
		source: testservers.Postgres(t, testbed.DefaultPostgres), target: testservers.OpenSearch(t, testbed.DefaultOpenSearch),
		megabytes: 1, days: 2, rows: 30_000, rounds: 1, seed: 1, json: true,
		only: []string{copyPart, verifyPart, catchUpPart},
	}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Parts) != 4 {
		t.Fatalf("%d parts", len(got.Parts))
	}
	for i, want := range []struct{ series, verdicts int }{{5, 4}, {2, 2}, {1, 1}, {6, 4}} {
		p := got.Parts[i]
		if len(p.Series) != want.series || len(p.Verdicts) != want.verdicts || p.Rows == 0 || p.Bytes == 0 {
			t.Errorf("%s: %d series, %d verdicts, %d rows, %d bytes", p.Name, len(p.Series), len(p.Verdicts), p.Rows, p.Bytes)
		}
		for _, s := range p.Series {
			checkSamples(t, p, s)
		}
	}
	for _, path := range []string{"/_alias/" + alias, "/_index_template/" + alias} {
		answer, err := http.Get(o.target + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s is left behind: %s", path, answer.Status)
		}
	}
}

// checkSamples wants what each kind of measurement has: a process its CPU and
// memory, and one that was counted its requests.
func checkSamples(t *testing.T, p *part, s *series) {
	t.Helper()
	isCounted := p.Name == "Catch-up"
	isTool := strings.HasPrefix(s.Name, "tool") || isCounted
	if len(s.Samples) != 1 {
		t.Errorf("%s: %d samples", s.Name, len(s.Samples))
	}
	for _, sample := range s.Samples {
		if sample.Seconds <= 0 || sample.CPUSeconds <= 0 || isTool != (sample.PeakBytes > 0) || isCounted != (sample.Requests > 0) {
			t.Errorf("%s: %+v", s.Name, sample)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string
		ok   bool
	}{
		{"-only catchup,verify -rows 50000", true},
		{"-only catch-up", false},
		{"-rows 49999", false}, // three rounds and a warm-up want 5,000 in the smaller table
		{"-rows 40000 -rounds 2", true},
		{"-mb 0", false},
		{"verify", false},
	} {
		o, err := parse(strings.Fields(tt.args))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.args, err)
		}
		if tt.ok && strings.Contains(tt.args, "-only") && (o.wants(copyPart) || !o.wants(catchUpPart) || !o.wants(verifyPart)) {
			t.Errorf("%s: parts %v", tt.args, o.only)
		}
	}
}

func TestVerdicts(t *testing.T) {
	sampleOf := func(seconds, cpu float64, mebibytes int64) sample {
		return sample{Seconds: seconds, CPUSeconds: cpu, PeakBytes: mebibytes << 20, bytes: 1e9}
	}
	s := copySeries{
		copy:   &series{Samples: []sample{sampleOf(1, 0, 0)}},
		replay: &series{Samples: []sample{sampleOf(18, 0, 0), sampleOf(30, 0, 0), sampleOf(17, 0, 0)}},
		quick:  &series{Samples: []sample{sampleOf(19.8, 1.4, 110), sampleOf(40, 9, 201), sampleOf(19, 1.3, 100)}},
		oneDay: &series{Samples: []sample{sampleOf(2, 0, 100)}},
	}
	if got, want := s.replay.spread(), 30.0/17; math.Abs(got-want) > 1e-9 {
		t.Errorf("spread %f, want %f", got, want)
	}
	want := []verdict{
		{"speed, of the slower ceiling", 18 / 19.8, ">= 0.9", true}, // medians: one slow run does not matter
		{"CPU s per GB, --check quick", 1.4, "<= 1.5", true},
		{"peak memory in MiB", 201, "<= 200", false}, // the highest: one large run does
		{"peak memory, times that of one day", 1.1, "<= 1.1", true},
	}
	for i, got := range s.judge() {
		if got.Name != want[i].Name || math.Abs(got.Figure-want[i].Figure) > 1e-9 || got.Wanted != want[i].Wanted || got.Pass != want[i].Pass {
			t.Errorf("got %+v, want %+v", got, want[i])
		}
	}
}
