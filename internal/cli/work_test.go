package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// idle is a copy that has not begun, with a checkpoint of two days.
func idle(t *testing.T) *work {
	t.Helper()
	medium, err := checkpoint.OpenFile(filepath.Join(t.TempDir(), "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(t.Context(), medium, checkpoint.Binding{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	err = c.Update(t.Context(), func(s *checkpoint.State) {
		s.Day(20000).Fates = node.Fates{node.Stored: 7, node.Rejected: 2}
		s.Day(20001).Fates = node.Fates{node.Stored: 5}
	})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "rejected")
	line := []byte(`{"id":"a","timestamp":"2025-03-01T00:00:00Z","reason":"pickle"}` + "\n")
	if err := os.WriteFile(list, line, 0o600); err != nil {
		t.Fatal(err)
	}
	rejects, err := migrate.OpenRejects(list, "", migrate.RejectsSize{List: int64(len(line))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rejects.Close() })
	return &work{
		migrateCommand: &migrateCommand{}, session: &session{Parts: migrate.Parts{Checkpoint: c, Rejects: rejects}},
		show:     &display{stderr: io.Discard},
		governor: governor.New(governor.Options{Limits: governor.Limits{Senders: 4}, BatchBytes: 8 << 20}),
	}
}

// scrape has one event happen, serves the metrics, and reads them as
// Prometheus does.
func scrape(t *testing.T) string {
	t.Helper()
	w := idle(t)
	m := newMetrics(migrate.New(w.session.Parts, migrate.Options{}), w.session, w.governor)
	m.event(migrate.Event{Kind: migrate.DaySealed})
	m.bulks.Observe(0.5)
	address := freeAddress(t)
	stop, err := serveMetrics(address, m, m.events, m.bulks)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return string(text)
}

// freeAddress is a loopback address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

func TestMetrics(t *testing.T) {
	text := scrape(t)
	for _, line := range []string{
		`nodestore_migrate_nodes{fate="stored"} 12`, `nodestore_migrate_nodes{fate="rejected"} 2`,
		`nodestore_migrate_days{state="open"} 2`, `nodestore_migrate_events_total{event="day_sealed"} 1`,
		`nodestore_migrate_held 0`, `nodestore_migrate_rejected_nodes{reason="pickle"} 1`, `nodestore_migrate_rejected_nodes{reason="empty"} 0`,
		`nodestore_migrate_events_total{event="vanished"} 0`, `nodestore_migrate_bulk_duration_seconds_bucket{le="0.64"} 1`,
		`nodestore_migrate_sent_bytes_total 0`, `nodestore_migrate_days{state="compact"} 0`, `nodestore_migrate_batch_bytes 8.388608e+06`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in:\n%s", line, text)
		}
	}
}

func TestMetricsAtNoAddress(t *testing.T) {
	if _, err := serveMetrics("127.0.0.1:port"); err == nil || !strings.Contains(err.Error(), "serve metrics") {
		t.Errorf("serve = %v", err)
	}
}

// TestDashboard makes sure that the dashboard asks for metrics that there are.
func TestDashboard(t *testing.T) {
	content, err := os.ReadFile("../../deploy/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 {
		t.Fatal("the dashboard has no panels")
	}
	served := scrape(t)
	name := regexp.MustCompile(`nodestore_migrate_[a-z_]+`)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, metric := range name.FindAllString(target.Expr, -1) {
				if !strings.Contains(served, "# TYPE "+strings.TrimSuffix(metric, "_bucket")+" ") {
					t.Errorf("panel %q asks for %s, which is not served", panel.Title, metric)
				}
			}
		}
	}
}

// TestMetricsAreDocumented wants each metric in the table of docs/operations.md.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^# TYPE (\w+) `).FindAllStringSubmatch(scrape(t), -1)
	if len(names) < 15 {
		t.Fatalf("%d metrics are served", len(names))
	}
	for _, name := range names {
		if !regexp.MustCompile("`" + name[1] + "[`{]").Match(page) {
			t.Errorf("%s is not documented", name[1])
		}
	}
}

func TestUser1PrintsTheState(t *testing.T) {
	w := idle(t)
	lines := make(chan []byte, 1)
	w.show.stderr = writer(func(line []byte) { lines <- bytes.Clone(line) })
	stop := onUser1(func() { w.show.state(w.state(migrate.Progress{DoneNodes: 3})) })
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var state migrateState
	if err := json.Unmarshal(<-lines, &state); err != nil {
		t.Fatal(err)
	}
	if state.Type != "state" || state.DoneNodes != 3 || state.Governor.Limits.Senders != 4 {
		t.Errorf("state %+v", state)
	}
}
