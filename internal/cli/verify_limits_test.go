package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// TestVerifyObeysAsACopyDoes pauses a verification by its control file, and reads why from
// its events and its metrics.
func TestVerifyObeysAsACopyDoes(t *testing.T) {
	t.Parallel()
	dir, from, to := t.TempDir(), filledSource(t, 300), testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])
	const name = "verify-obeys"
	t.Cleanup(func() {
		for _, path := range []string{"/" + name + "-2025-03-01," + name + "-2025-03-02," + name + "-2025-03-03", "/_index_template/" + name} {
			request, err := http.NewRequest(http.MethodDelete, to+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %v %v", path, answer, err)
				continue
			}
			answer.Body.Close()
		}
	})
	environment := map[string]string{"SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN": name + "-*", "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC": "best_compression"}
	begin := func(args ...string) (out, errs *transcript, code chan int) {
		out, errs, code = &transcript{}, &transcript{}, make(chan int, 1)
		args = append(args, "--source", from, "--target", to, "--region", "test", "--alias", name, "--template", name, "--index", name+"-{date}",
			"--checkpoint", filepath.Join(dir, "test.checkpoint"), "--json")
		go func() {
			code <- run(t.Context(), &process{stdout: out, stderr: errs, getenv: func(name string) string { return environment[name] }, stop: make(chan struct{})}, args)
		}()
		return out, errs, code
	}
	out, errs, code := begin("migrate", "--compact", "never")
	if got := <-code; got != exitDone {
		t.Fatalf("migrate: exit code %d\n%s%s", got, out, errs)
	}

	control, address := filepath.Join(dir, "control"), freeAddress(t)
	if err := os.WriteFile(control, []byte("paused = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code = begin("verify", "--level", "full", "--control", control, "--metrics-addr", address, "--max-mb-per-second", "0.5")
	ticker, deadline := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
	defer ticker.Stop()
	served := ""
	for !strings.Contains(served, "nodestore_verify_held 1\n") {
		select {
		case got := <-code:
			t.Fatalf("it ended with %d though it is paused\n%s%s", got, out, errs)
		case <-deadline:
			t.Fatalf("it is not held\n%s%s\n%s", out, errs, served)
		case <-ticker.C:
		}
		if answer, err := http.Get("http://" + address + "/metrics"); err == nil {
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			served = string(text)
		}
	}
	for _, line := range []string{
		"nodestore_verify_findings_total 0", `nodestore_verify_events_total{event="day_compared"} 0`,
		`nodestore_verify_senders_allowed 4`, "# TYPE nodestore_verify_build_info gauge", "# TYPE nodestore_verify_checkpoint_saved_timestamp_seconds gauge",
	} {
		if !strings.Contains(served, line) {
			t.Errorf("no %s in\n%s", line, served)
		}
	}
	if err := os.WriteFile(control, []byte("max-mb-per-second = 50\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != exitDone {
		t.Fatalf("verify: exit code %d\n%s%s", got, out, errs)
	}
	for _, event := range []string{`"event":"held","cause":"paused by the operator"`, `"event":"limits","cause":"at most 4 senders and 50 MB/s"`} {
		if !strings.Contains(out.String(), event) {
			t.Errorf("no %s in\n%s", event, out)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
