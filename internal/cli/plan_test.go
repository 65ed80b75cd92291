package cli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/plan"
)

func TestPlanText(t *testing.T) {
	t.Parallel()
	made := plan.Plan{
		Checks: []plan.Check{
			{Side: plan.Source, Name: "relation", State: plan.OK, Detail: "a table"},
			{Side: plan.Forecast, Name: "disk", State: plan.NoGo, Detail: "too little", Remedy: "add some"},
			{Side: plan.Target, Name: "loading_settings", State: plan.Warning, Detail: "left behind"},
			{Side: plan.Target, Name: "privileges", State: plan.Unknown, Detail: "not seen"},
		},
		Days: []plan.Day{
			{Day: "2025-09-01", Rows: -1, Bytes: 2e9, Fate: plan.DayOld, Index: "sentry-2025-09-01"},
			{Day: "2025-09-02", Rows: 12345, Bytes: 3e9, Fate: plan.DayCopy, Index: "sentry-2025-09-02", Exists: true},
		},
	}
	want := `Source
  ok       relation               a table

Days, newest first (rows and bytes are estimates)
  2025-09-02         12,345 rows    3.00 GB  copy             sentry-2025-09-02 (there)
  2025-09-01              ? rows    2.00 GB  out of retention sentry-2025-09-01 (new)

Target
  warning  loading settings       left behind
  unknown  privileges             not seen

Forecast
  NO-GO    disk                   too little
                                  -> add some

NO-GO: forecast disk (warnings: 1, unknown: 1)
`
	if got := planText(made); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	made.Checks, made.Go = made.Checks[:1], true
	if got := planText(made); !strings.HasSuffix(got, "\nGO (warnings: 0, unknown: 0)\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestPlanShowsTheNewestDays(t *testing.T) {
	t.Parallel()
	made := plan.Plan{Go: true}
	for range shownDays + 3 {
		made.Days = append(made.Days, plan.Day{Day: "2025-09-01"})
	}
	if got := planText(made); strings.Count(got, "2025-09-01") != shownDays || !strings.Contains(got, "and 3 older ones") {
		t.Errorf("got\n%s", got)
	}
}

// Servers that cannot be reached are a no-go, not a failure: both are named.
func TestPlanExitsWithNoGo(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	p := &process{stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }, stop: make(chan struct{})}
	code := run(t.Context(), p, []string{
		"plan", "--json", "--source", "postgres://sentry:hush@127.0.0.1:1/sentry?sslmode=disable", "--target", "http://admin:hush@127.0.0.1:2",
		"--checkpoint", filepath.Join(t.TempDir(), "none"),
	})
	var made planObject
	if err := json.Unmarshal(stdout.Bytes(), &made); err != nil || code != exitNoGo || !strings.Contains(stderr.String(), "\nwaiting ") || !strings.HasPrefix(stderr.String(), "warning: the list of processes") {
		t.Fatalf("exit code %d, %v, standard error %q", code, err, &stderr)
	}
	if made.Go || made.Type != "plan" || len(made.Reasons(plan.NoGo)) != 2 {
		t.Errorf("%+v", made)
	}
	if strings.Contains(stdout.String()+stderr.String(), "hush") {
		t.Errorf("a password is told: %s%s", &stdout, &stderr)
	}
}

func TestPlanRefusesWrongFlags(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	p := &process{stdout: &stderr, stderr: &stderr, getenv: func(string) string { return "" }, stop: make(chan struct{})}
	code := run(t.Context(), p, []string{"plan", "--target", "opensearch", "--mb-per-second=-1", "--senders", "0", "--since", "soon"})
	for _, flag := range []string{"--target", "--mb-per-second", "--senders", "--since"} {
		if code != exitUsage || !strings.Contains(stderr.String(), flag) {
			t.Errorf("exit code %d, %s is not named in %q", code, flag, &stderr)
		}
	}
}
