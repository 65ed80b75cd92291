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
		megabytes: 1, days: 2, rounds: 1, seed: 1, json: true,
	}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Series) != 5 || len(got.Verdicts) != 4 || got.Rows == 0 {
		t.Fatalf("%d series, %d verdicts, %d rows", len(got.Series), len(got.Verdicts), got.Rows)
	}
	for _, s := range got.Series {
		isTool := strings.HasPrefix(s.Name, "tool")
		for _, sample := range s.Samples {
			if sample.Seconds <= 0 || isTool != (sample.CPUSeconds > 0) || isTool != (sample.PeakBytes > 0) {
				t.Errorf("%s: %+v", s.Name, sample)
			}
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

func TestVerdicts(t *testing.T) {
	sampleOf := func(seconds, cpu float64, mebibytes int64) sample {
		return sample{Seconds: seconds, CPUSeconds: cpu, PeakBytes: mebibytes << 20, bytes: 1e9}
	}
	r := &result{
		copy:   &series{Samples: []sample{sampleOf(1, 0, 0)}},
		replay: &series{Samples: []sample{sampleOf(18, 0, 0), sampleOf(30, 0, 0), sampleOf(17, 0, 0)}},
		quick:  &series{Samples: []sample{sampleOf(19.8, 1.4, 110), sampleOf(40, 9, 201), sampleOf(19, 1.3, 100)}},
		oneDay: &series{Samples: []sample{sampleOf(2, 0, 100)}},
	}
	r.judge()
	if want := 30.0 / 17; math.Abs(r.Spread-want) > 1e-9 {
		t.Errorf("spread %f, want %f", r.Spread, want)
	}
	want := []verdict{
		{"speed, of the slower ceiling", 18 / 19.8, ">= 0.90", true}, // medians: one slow run does not matter
		{"CPU s per GB, --check quick", 1.4, "<= 1.5", true},
		{"peak memory in MiB", 201, "<= 200", false}, // the highest: one large run does
		{"peak memory, times that of one day", 1.1, "<= 1.1", true},
	}
	for i, got := range r.Verdicts {
		if got.Name != want[i].Name || math.Abs(got.Figure-want[i].Figure) > 1e-9 || got.Wanted != want[i].Wanted || got.Pass != want[i].Pass {
			t.Errorf("got %+v, want %+v", got, want[i])
		}
	}
}
