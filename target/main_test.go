package target

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zlib"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// TestMain also finds goroutines that outlive a target: every test closes its own.
func TestMain(m *testing.M) {
	os.Exit(testservers.RunWithoutLeaks(m))
}

// bed is one test's own corner of a shared server: a backend whose names no
// other test has.
type bed struct {
	t       *testing.T
	url     string
	backend Backend
}

// eachVersion runs a test on every supported server, each time in a corner of its own.
func eachVersion(t *testing.T, test func(t *testing.T, b bed)) {
	t.Parallel()
	for _, version := range testservers.OpenSearchVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, newBed(t, testservers.OpenSearch(t, version)))
		})
	}
}

// oldest is a corner of the oldest server.
func oldest(t *testing.T) bed {
	t.Parallel()
	return newBed(t, testservers.OpenSearch(t, testservers.OpenSearchVersions()[0]))
}

func newBed(t *testing.T, server string) bed {
	t.Helper()
	name := "nm-" + strings.ToLower(rand.Text()[:10])
	b := bed{t: t, url: server, backend: Backend{
		Alias: name, Template: name, Index: name + "-{date}", Pattern: name + "-*",
		Codec: "best_compression", Shards: 1, Replicas: 0,
	}}
	t.Cleanup(func() {
		b.call(http.MethodDelete, "/"+name+"-*", "")
		b.call(http.MethodDelete, "/_index_template/"+name+"*", "")
	})
	return b
}

// call sends a plain request and returns the answer's status and body. Its
// context is not the test's own, which has ended when a cleanup runs.
func (b bed) call(method, path, body string) (status int, answer map[string]any) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(b.t.Context()), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, answer
}

// must is call for what has to succeed.
func (b bed) must(method, path, body string) map[string]any {
	b.t.Helper()
	status, answer := b.call(method, path, body)
	if status >= http.StatusMultipleChoices {
		b.t.Fatalf("%s %s: status %d: %v", method, path, status, answer)
	}
	return answer
}

// config is for a target that gives up soon.
func (b bed) config() Config {
	return Config{URLs: []string{b.url}, Backend: b.backend, Patience: 20 * time.Second}
}

func (b bed) open() *Target { return openTarget(b.t, b.config()) }

// through opens a target behind a proxy.
func (b bed) through(rule faulty.Rule) *Target {
	b.t.Helper()
	return openTarget(b.t, b.behind(rule))
}

func (b bed) behind(rule faulty.Rule) Config {
	b.t.Helper()
	server, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	config := b.config()
	config.URLs = []string{faulty.NewHTTPProxy(b.t, server.Host, rule).URL()}
	return config
}

func openTarget(t *testing.T, config Config) *Target {
	t.Helper()
	target, err := Open(t.Context(), config)
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	t.Cleanup(target.Close)
	return target
}

// today is the day that most tests write to.
const today = node.Day(20_000)

func (b bed) index() string { return b.backend.IndexOf(today) }

// loading writes the template and creates the index of today for loading.
func (b bed) loading(target *Target) Index {
	b.t.Helper()
	ctx := b.t.Context()
	if _, err := target.EnsureTemplate(ctx); err != nil {
		b.t.Fatal(err)
	}
	loan, err := target.Loan(ctx, b.index())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := target.Create(ctx, b.index(), loan, Origin{Database: "sentry", Table: "nodestore_node"}); err != nil {
		b.t.Fatal(err)
	}
	return b.daily(target)
}

// plain writes the template and creates the index of today as Sentry would.
func (b bed) plain(target *Target) Index {
	b.t.Helper()
	if _, err := target.EnsureTemplate(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.must(http.MethodPut, "/"+b.index(), "")
	return b.daily(target)
}

func (b bed) daily(target *Target) Index {
	b.t.Helper()
	index, ok, err := target.Daily(b.t.Context(), today)
	if err != nil || !ok {
		b.t.Fatalf("daily index %s: found %v, %v", b.index(), ok, err)
	}
	return index
}

// mustRead is Read after a refresh.
func (b bed) mustRead(target *Target, id string) Sight {
	b.t.Helper()
	b.must(http.MethodPost, "/"+b.backend.Alias+"/_refresh", "")
	sight, err := target.Read(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return sight
}

// row is a node to write: inner is what its payload says.
type row struct {
	id     string
	micros int64
	inner  string
}

// noon is a timestamp on today that OpenSearch keeps exactly.
const noon = int64(today)*86_400_000_000 + 43_200_000_000

// payload is base64(zlib(JSON)) of at least size bytes.
func payload(t testing.TB, inner string, size int) []byte {
	t.Helper()
	random := make([]byte, size/4*3)
	_, _ = rand.Read(random) // never fails
	text, err := json.Marshal(map[string]any{"message": inner, "random": random})
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	w := zlib.NewWriter(&stream)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.AppendEncode(nil, stream.Bytes())
}

// inner undoes payload.
func inner(t testing.TB, data []byte) string {
	t.Helper()
	stream, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var event struct{ Message string }
	if err := json.Unmarshal(text, &event); err != nil {
		t.Fatal(err)
	}
	return event.Message
}

// batchOf makes a batch of rows, each of which has to be accepted.
func batchOf(t testing.TB, mode Mode, rows ...row) *Batch {
	t.Helper()
	b := NewBatch(1 << 10)
	b.Reset(mode)
	for _, r := range rows {
		appendTo(t, b, node.Node{ID: []byte(r.id), Data: payload(t, r.inner, 0), Micros: r.micros})
	}
	return b
}

func appendTo(t testing.TB, b *Batch, n node.Node) {
	t.Helper()
	if verdict := b.Append(n, node.NewChecker(node.Full)); verdict.Reason != node.Accepted {
		t.Fatalf("node %q is rejected: %s", n.ID, verdict.Reason)
	}
}

// numbered are rows with ids of their own at one time.
func numbered(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{id: fmt.Sprintf("n%d", i), micros: noon, inner: fmt.Sprint(i)}
	}
	return rows
}

// wantFates fails unless a batch got exactly these fates, and they add up.
func wantFates(t testing.TB, got Outcome, err error, want node.Fates) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	if got.Fates != want || int64(len(got.Rejected)) != got.Fates[node.Rejected] {
		t.Errorf("fates %v, rejected %v; want %v", got.Fates, got.Rejected, want)
	}
}

// wantRefusal fails unless an error and its remedy hold these words.
func wantRefusal(t testing.TB, err error, text, remedy string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want %q", err, text)
	}
	if !strings.Contains(hint.Of(err), remedy) {
		t.Errorf("%v: remedy %q, want %q", err, hint.Of(err), remedy)
	}
}
