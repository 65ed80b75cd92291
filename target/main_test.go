package target

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// TestMain also finds goroutines that outlive a target: every test closes its own.
func TestMain(m *testing.M) {
	os.Exit(testservers.RunWithoutLeaks(m))
}

// bed is one test's corner with a backend whose names are of it.
type bed struct {
	testservers.Corner
	backend Backend
}

func eachVersion(t *testing.T, test func(t *testing.T, b bed)) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) { test(t, bedIn(c)) })
}

func oldest(t *testing.T) bed { return bedIn(testservers.OldestCorner(t)) }

func newBed(t *testing.T, server string) bed { return bedIn(testservers.NewCorner(t, server)) }

func bedIn(c testservers.Corner) bed {
	return bed{c, Backend{
		Alias: c.Name, Template: c.Name, Index: c.Name + "-{date}", Pattern: c.Name + "-*",
		Codec: "best_compression", Shards: 1, Replicas: 0,
	}}
}

// config is for a target that gives up soon.
func (b bed) config() Config {
	return Config{Config: cluster.Config{URLs: []string{b.URL}, Patience: 20 * time.Second}, Backend: b.backend}
}

func (b bed) open() *Target { return openTarget(b.T, b.config()) }

// through opens a target behind a proxy.
func (b bed) through(rule faulty.Rule) *Target {
	b.T.Helper()
	return openTarget(b.T, b.behind(rule))
}

func (b bed) behind(rule faulty.Rule) Config {
	b.T.Helper()
	server, err := url.Parse(b.URL)
	if err != nil {
		b.T.Fatal(err)
	}
	config := b.config()
	config.URLs = []string{faulty.NewHTTPProxy(b.T, server.Host, rule).URL()}
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
	b.T.Helper()
	ctx := b.T.Context()
	if _, err := target.EnsureTemplate(ctx); err != nil {
		b.T.Fatal(err)
	}
	loan, err := target.Loan(ctx, b.index())
	if err != nil {
		b.T.Fatal(err)
	}
	if err := target.Create(ctx, b.index(), loan, Origin{Origin: node.Origin{Database: "sentry", Table: "nodestore_node"}}); err != nil {
		b.T.Fatal(err)
	}
	return b.daily(target)
}

// plain writes the template and creates the index of today as Sentry would.
func (b bed) plain(target *Target) Index {
	b.T.Helper()
	if _, err := target.EnsureTemplate(b.T.Context()); err != nil {
		b.T.Fatal(err)
	}
	b.Must(http.MethodPut, "/"+b.index(), "")
	return b.daily(target)
}

func (b bed) daily(target *Target) Index {
	b.T.Helper()
	index, ok, err := target.Daily(b.T.Context(), today)
	if err != nil || !ok {
		b.T.Fatalf("daily index %s: found %v, %v", b.index(), ok, err)
	}
	return index
}

// mustRead is Read after a refresh.
func (b bed) mustRead(target *Target, id string) Sight {
	b.T.Helper()
	b.Must(http.MethodPost, "/"+b.backend.Alias+"/_refresh", "")
	sight, err := target.Read(b.T.Context(), id)
	if err != nil {
		b.T.Fatal(err)
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

// wantRefusal fails unless an error and its remedy, or the mistake that it comes
// from, hold these words.
func wantRefusal(t testing.TB, err error, text, remedy string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want %q", err, text)
	}
	mends := hint.Of(err)
	if mistaken, ok := errors.AsType[*cluster.MistakeError](err); ok {
		mends += string(mistaken.Mistake)
	}
	if !strings.Contains(mends, remedy) {
		t.Errorf("%v: remedy %q, want %q", err, mends, remedy)
	}
}
