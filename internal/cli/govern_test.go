package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// TestFullDiskHolds lowers the flood stage, which is what counts on one node, to
// just above what is used of the disk while a copy runs, and raises it again. The server is its own: watermarks are
// the whole cluster's.
func TestFullDiskHolds(t *testing.T) {
	t.Parallel()
	const rows, before = 300, 4
	server := startServer(t)
	v := newValve(t, server, before)
	said, ended := startCopy(t, filledSource(t, rows), v.proxy.URL)
	await(t, ended, said, "the bulk that is kept", func() bool { return v.bulks.Load() == before })

	name, used := diskOf(t, server)
	low := max(int(100*used), 1)
	flood := low + 2
	if used > 0.96 {
		t.Fatalf("the disk is %.1f %% full: no watermark is far enough above that", 100*used)
	}
	setWatermarks(t, server, low, flood)
	line := regexp.MustCompile(fmt.Sprintf(`"level":"WARN","msg":"held: %s's disk is at (\d+) %%, low watermark %d %%, flood stage %d %%"`, name, low, flood))
	await(t, ended, said, "a line that says why it holds", func() bool { return line.MatchString(said.String()) })
	told, err := strconv.Atoi(line.FindStringSubmatch(said.String())[1])
	if err != nil || float64(told) < 100*used-2 || float64(told) > 100*used+2 {
		t.Errorf("it says %d %%, used are %.1f %%", told, 100*used)
	}

	v.open()
	looked := v.looks.Load()
	await(t, ended, said, "another look at the disks", func() bool { return v.looks.Load() > looked+1 })
	if n := v.bulks.Load(); n != before {
		t.Errorf("%d bulks were sent though it holds", n-before)
	}
	if strings.Contains(said.String(), `"msg":"resuming"`) {
		t.Errorf("it resumed though nothing had changed:\n%s", said)
	}

	setWatermarks(t, server, 100, 100)
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if n := strings.Count(said.String(), `"msg":"resuming"`); n != 1 {
		t.Errorf("it resumed %d times:\n%s", n, said)
	}
	var answer struct{ Count int }
	ask(t, http.MethodGet, server+"/held/_count", "", &answer)
	if answer.Count != rows {
		t.Errorf("%d nodes are stored, of %d", answer.Count, rows)
	}
}

func startServer(t *testing.T) (address string) {
	t.Helper()
	server, err := testbed.StartOpenSearch(t.Context(), testbed.OpenSearchOptions{
		Version: testservers.OpenSearchVersions()[0], Quick: true,
		// Else a single node is filled until the flood stage, as plan says too.
		Settings: map[string]string{"cluster.routing.allocation.disk.watermark.enable_for_single_data_node": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server.URL()
}

// filledSource is a database with readable rows of three past days.
func filledSource(t *testing.T, rows int) (address string) {
	t.Helper()
	versions := testservers.PostgresVersions()
	address = testservers.Postgres(t, versions[len(versions)-1])
	fillSource(t, address, rows)
	return address
}

func fillSource(t *testing.T, address string, rows int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := synth.CreateTable(t.Context(), conn, "nodestore_node"); err != nil {
		t.Fatal(err)
	}
	from := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	_, err = synth.Fill(t.Context(), conn, "nodestore_node", synth.Options{
		Seed: 1, Rows: rows, From: from, Until: from.AddDate(0, 0, 3), Mix: synth.Clean(), Distinct: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// startCopy runs migrate with one sender.
func startCopy(t *testing.T, from, to string) (*transcript, <-chan error) {
	t.Helper()
	said := &transcript{}
	environment := map[string]string{
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN": "held-*", "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC": "best_compression",
	}
	p := &process{stdout: io.Discard, stderr: said, getenv: func(name string) string { return environment[name] }, stop: make(chan struct{})}
	selected, code := parse(p, []string{
		"migrate", "--source", from, "--target", to, "--region", "test",
		"--alias", "held", "--template", "held", "--index", "held-{date}",
		"--checkpoint", filepath.Join(t.TempDir(), "test.checkpoint"), "--senders", "1", "--bulk-bytes", "64KiB", "--compact", "never",
	})
	verb, ok := selected.(*migrateCommand)
	if !ok {
		t.Fatalf("exit code %d: %s", code, said)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, gone := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(gone)
		ended <- verb.Run(ctx, p)
	}()
	t.Cleanup(func() {
		cancel()
		<-gone
	})
	return said, ended
}

// await waits until something has come about in a copy that continues.
func await(t *testing.T, ended <-chan error, said *transcript, what string, there func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !there() {
		select {
		case err := <-ended:
			t.Fatalf("it ended before %s: %v\n%s", what, err, said)
		case <-ticker.C:
		}
	}
}

// transcript can be read while it is written.
type transcript struct {
	mu      sync.Mutex
	content bytes.Buffer
}

// Write is io.Writer.
func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.Write(p)
}

// String is what was written so far.
func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.String()
}

// valve stands before OpenSearch. It keeps the n-th bulk until it is opened.
type valve struct {
	proxy *httptest.Server
	open  func()
	bulks atomic.Int64
	looks atomic.Int64 // at the disks
}

func newValve(t *testing.T, address string, n int64) *valve {
	t.Helper()
	backend, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	forward := httputil.NewSingleHostReverseProxy(backend)
	forward.Transport = transport
	forward.ErrorLog = log.New(io.Discard, "", 0) // a look that the end of the copy cuts off is none
	opened := make(chan struct{})
	v := &valve{open: sync.OnceFunc(func() { close(opened) })}
	v.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_bulk") && v.bulks.Add(1) == n:
			<-opened
		case r.URL.Path == "/_nodes/stats/fs":
			v.looks.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		v.open()
		v.proxy.Close()
		transport.CloseIdleConnections()
	})
	return v
}

// diskOf is the name of the one data node, and the used part of its disk.
func diskOf(t *testing.T, server string) (name string, used float64) {
	t.Helper()
	var answer struct {
		Nodes map[string]struct {
			Name string
			FS   struct {
				Total struct {
					Total     float64 `json:"total_in_bytes"`
					Available float64 `json:"available_in_bytes"`
				}
			}
		}
	}
	ask(t, http.MethodGet, server+"/_nodes/stats/fs", "", &answer)
	for _, n := range answer.Nodes {
		return n.Name, 1 - n.FS.Total.Available/n.FS.Total.Total
	}
	t.Fatal("the cluster has no node")
	return "", 0
}

// setWatermarks has the cluster heed its disks, with watermarks in percent.
func setWatermarks(t *testing.T, server string, low, flood int) {
	t.Helper()
	body := fmt.Sprintf(`{"transient": {"cluster.routing.allocation.disk": {"threshold_enabled": true,
		"watermark": {"low": "%d%%", "high": "%d%%", "flood_stage": "%d%%"}}}}`, low, flood, flood)
	ask(t, http.MethodPut, server+"/_cluster/settings", body, new(any))
}

// ask wants an answer of OpenSearch.
func ask(t *testing.T, method, address, body string, answer any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, address, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
}
