package target

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// large is a batch of n nodes of some 300 kB.
func large(t *testing.T, n int) *Batch {
	t.Helper()
	b := NewBatch(1 << 10)
	b.Reset(Versioned)
	for i := range n {
		appendTo(t, b, node.Node{ID: fmt.Appendf(nil, "n%d", i), Data: payload(t, fmt.Sprint(i), 300_000), Micros: noon})
	}
	return b
}

// TestTooLargeInEveryForm: what is refused alone is halved, whatever says so,
// and the size that passes is remembered.
func TestTooLargeInEveryForm(t *testing.T) {
	t.Parallel()
	const limit = 2 << 20
	for name, fault := range map[string]faulty.Fault{
		"413 of a proxy":    {Status: 413, Body: "<html>"},
		"413 of OpenSearch": {Status: 413, Body: `{"error":{"type":"content_too_long","reason":"x"},"status":413}`},
		"circuit breaker":   {Status: 429, Body: `{"error":{"type":"circuit_breaking_exception","reason":"[parent] Data too large, data for [<http_request>] would be [9/9b]"},"status":429}`},
		"indexing pressure": {Status: 429, Body: `{"error":{"type":"rejected_execution_exception","reason":"rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, coordinating_operation_bytes=9, max_coordinating_and_primary_bytes=8]"},"status":429}`},
		"reset":             {Cut: faulty.BeforeServer},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			faults := &bulks{fault: func(_ int, size int64) faulty.Fault {
				if size > limit {
					return fault
				}
				return faulty.Fault{}
			}}
			target := b.through(faults.rule)
			index := b.loading(target)
			got, err := target.Write(t.Context(), index, large(t, 10)) // 4 MB in base64
			wantFates(t, got, err, node.Fates{node.Stored: 10})
			tries := faults.seen.Load()
			got, err = target.Write(t.Context(), index, large(t, 10))
			wantFates(t, got, err, node.Fates{node.AlreadyThere: 10})
			if again := faults.seen.Load() - tries; again > 3 {
				t.Errorf("%d requests, then %d: the size that passes is not remembered", tries, again)
			}
		})
	}
}

// TestSingleNodeThatNothingCarries: it is rejected when the patience is over, if
// others were taken meanwhile, and else the run stops.
func TestSingleNodeThatNothingCarries(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faulty.Fault{
		"circuit breaker": {Status: 429, Body: `{"error":{"type":"circuit_breaking_exception","reason":"[in_flight_requests] Data too large, data for [<http_request>] would be [9/9b]"},"status":429}`},
		"reset":           {Cut: faulty.BeforeServer},
		"answers are cut": {Cut: faulty.BeforeAnswer},
	} {
		for _, others := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, others are taken: %v", name, others), func(t *testing.T) {
				b := oldest(t)
				config := b.behind(func(r *http.Request, _ int) faulty.Fault {
					if isBulk(r) && r.ContentLength > smallBody {
						return fault
					}
					return faulty.Fault{}
				})
				config.Patience = time.Second
				var target *Target
				var index Index
				config.Waiting = func(string, time.Duration) {
					if others {
						_, _ = target.Write(t.Context(), index, batchOf(t, Versioned, numbered(1)...))
					}
				}
				target = openTarget(t, config)
				index = b.loading(target)
				huge := NewBatch(1 << 10)
				huge.Reset(Versioned)
				appendTo(t, huge, node.Node{ID: []byte("huge/?"), Data: payload(t, "x", 2<<20), Micros: noon})
				got, err := target.Write(t.Context(), index, huge)
				if !others || fault.Cut == faulty.BeforeAnswer {
					wantRefusal(t, err, "gave up after", "health and load")
					return
				}
				wantFates(t, got, err, node.Fates{node.Rejected: 1})
			})
		}
	}
}

func TestSizesGoUpSlowly(t *testing.T) {
	t.Parallel()
	var s sizes
	s.passed(1000)
	if s.limit.Load() != 0 {
		t.Errorf("limit %d without a refusal", s.limit.Load())
	}
	s.refused(1000)
	s.passed(100) // says nothing
	if s.limit.Load() != 501 {
		t.Errorf("limit %d", s.limit.Load())
	}
	passed := 0
	for ; s.limit.Load() < 1000; passed++ {
		s.passed(500)
	}
	if passed < 5 || passed > 20 {
		t.Errorf("back after %d requests", passed)
	}
}

// TestExpectationRefused: some proxies know no Expect.
func TestExpectationRefused(t *testing.T) {
	b := oldest(t)
	var expected, plain atomic.Int64
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		switch {
		case !isBulk(r):
		case r.Header.Get("Expect") != "":
			expected.Add(1)
			return faulty.Fault{Status: http.StatusExpectationFailed, Body: "<html>"}
		default:
			plain.Add(1)
		}
		return faulty.Fault{}
	})
	index := b.loading(target)
	batch := NewBatch(64<<20 + 1<<20)
	batch.Reset(Versioned)
	data := payload(t, "x", 8<<20)
	for i := 0; batch.Size() <= 64<<20; i++ {
		appendTo(t, batch, node.Node{ID: fmt.Appendf(nil, "n%d", i), Data: data, Micros: noon})
	}
	got, err := target.Write(t.Context(), index, batch)
	wantFates(t, got, err, node.Fates{node.Stored: int64(batch.Len())})
	if expected.Load() != 1 || plain.Load() != 1 {
		t.Errorf("%d with Expect, %d without", expected.Load(), plain.Load())
	}
}

// signature signs nothing; whether it holds is the proxy's to say.
type signature struct{}

func (signature) SignRequest(*http.Request) error { return nil }
func (signature) OverrideSigningPort(uint16)      {}

// TestSignatureThatIsRefusedForAMoment: credentials expire, and others come.
// OpenSearch's own 403, and a proxy's where nothing is signed, stop at once.
func TestSignatureThatIsRefusedForAMoment(t *testing.T) {
	b := oldest(t)
	const expired = `{"message":"The security token included in the request is expired"}`
	faults := &bulks{fault: first(faulty.Fault{Status: http.StatusForbidden, Body: expired})}
	config := b.behind(faults.rule)
	plain := openTarget(t, config)
	index := b.loading(plain)
	_, err := plain.Write(t.Context(), index, batchOf(t, Versioned, numbered(2)...))
	wantRefusal(t, err, "status 403", "cluster_monitor")
	faults.seen.Store(0)
	config.Signer = signature{}
	got, err := openTarget(t, config).Write(t.Context(), index, batchOf(t, Versioned, numbered(2)...))
	wantFates(t, got, err, node.Fates{node.Stored: 2})
	faults.fault = always(faulty.Fault{Status: http.StatusForbidden, Body: `{"error":{"type":"security_exception","reason":"no permissions"},"status":403}`})
	_, err = openTarget(t, config).Write(t.Context(), index, batchOf(t, Versioned, numbered(2)...))
	wantRefusal(t, err, "security_exception", "cluster_monitor")
	if faults.seen.Load() != 3 {
		t.Errorf("%d requests", faults.seen.Load())
	}
}

// TestMissingPipelineStops: no node would ever be taken, so none is rejected.
func TestMissingPipelineStops(t *testing.T) {
	b := oldest(t)
	target := b.open()
	index := b.loading(target)
	b.Must(http.MethodPut, "/"+b.index()+"/_settings", `{"index.default_pipeline":"nowhere"}`)
	got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(2)...))
	wantRefusal(t, err, "pipeline with id [nowhere] does not exist", "to _none")
	if got.Fates.Sum() != 0 {
		t.Errorf("fates %v", got.Fates)
	}
}

// noNodeMayHoldIt: the allocation rule is told at the first index.
func (b bed) noNodeMayHoldIt() {
	t, target := b.T, b.open()
	b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(
		`{"index_patterns":[%q],"template":{"settings":{"index.routing.allocation.require._name":"nobody"},"aliases":{%q:{}}}}`, b.backend.Pattern, b.backend.Alias))
	err := target.CreateShared(t.Context(), b.index(), Origin{Origin: node.Origin{Database: "d", Table: "t"}})
	wantRefusal(t, err, "no node may hold shard 0: filter: node does not match index setting", "allocation rule")
	b.wantNoShortAnswers(openTarget(t, Config{Config: cluster.Config{URLs: []string{b.URL}, Patience: 200 * time.Millisecond}, Backend: b.backend}))
}

// TestAwkwardCluster has settings of a whole cluster that are met in the field.
func TestAwkwardCluster(t *testing.T) {
	t.Parallel()
	server, err := testbed.StartOpenSearch(t.Context(), testbed.OpenSearchOptions{Quick: true, Settings: map[string]string{
		"rest.action.multi.allow_explicit_index":                 "false",
		"node.attr.zone":                                         "a",
		"cluster.routing.allocation.awareness.attributes":        "zone",
		"cluster.routing.allocation.awareness.force.zone.values": "a,b",
		"compatibility.override_main_response_version":           "true",
		"search.default_search_timeout":                          "1ms",
		"cluster.routing.allocation.awareness.balance":           "true",
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	t.Cleanup(func() { _ = server.Stop() })
	b := newBed(t, server.URL())
	b.backend.Replicas = 1
	config := b.config()
	var waited sync.Map
	config.Waiting = func(cause string, _ time.Duration) {
		waited.Store(cause, true)
		if strings.Contains(cause, "index_create_block_exception") {
			b.Must(http.MethodPut, "/_cluster/settings", `{"persistent":{"cluster.blocks.create_index":null}}`)
		}
	}
	target := openTarget(t, config)
	if version := target.Identity().Version; version != testbed.DefaultOpenSearch {
		t.Errorf("version %s", version)
	}
	// The template is there before the block.
	if _, err := target.EnsureTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Must(http.MethodPut, "/_cluster/settings", `{"persistent":{"cluster.blocks.create_index":true}}`)
	index := b.loading(target)
	got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
	wantFates(t, got, err, node.Fates{node.Stored: 3})
	b.Must(http.MethodPost, "/"+b.index()+"/_refresh", "")
	copies, err := target.Copies(context.WithoutCancel(t.Context()), b.backend.Alias, []string{"n0", "n1"})
	if err != nil {
		t.Fatal(err)
	}
	if removed, err := target.Remove(t.Context(), copies); len(removed) != 2 || err != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
	b.manyInTime(target)
	if causes := keys(&waited); len(causes) != 1 || !strings.Contains(causes[0], "index_create_block_exception") {
		t.Errorf("waited for %q", causes)
	}
	newBed(t, server.URL()).noNodeMayHoldIt()
	otherClusterBehindTheURL(newBed(t, testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])), server.URL())
}

// manyInTime asks for more than a search is given time for by default: without
// a time of its own two of five were cut short.
func (b bed) manyInTime(target *Target) {
	const n, portions = 20_000, 4
	for k := range portions {
		var body strings.Builder
		for i := range n {
			fmt.Fprintf(&body, "{\"create\":{\"_id\":\"m%d\"}}\n{\"timestamp\":%q}\n", k*n+i, "2024-10-04T12:00:00.000Z")
		}
		b.Must(http.MethodPost, "/"+b.index()+"/_bulk?refresh=true", body.String())
	}
	for range 10 {
		moments, err := target.Moments(b.T.Context(), b.index(), noon/1000, noon/1000+1)
		if err != nil || moments[noon/1000].Count < n*portions {
			b.T.Errorf("%v, %v", moments, err)
		}
	}
}

func keys(m *sync.Map) (names []string) {
	m.Range(func(key, _ any) bool { names = append(names, key.(string)); return true })
	return names
}
