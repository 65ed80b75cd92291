package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

func isBulk(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/_bulk") }

// bulks lets a fault meet every bulk request of a test's target, and counts them.
type bulks struct {
	fault func(n int, size int64) faulty.Fault
	seen  atomic.Int64
}

func (s *bulks) rule(r *http.Request, _ int) faulty.Fault {
	if !isBulk(r) {
		return faulty.Fault{}
	}
	return s.fault(int(s.seen.Add(1)), r.ContentLength)
}

func first(f faulty.Fault) func(int, int64) faulty.Fault {
	return func(n int, _ int64) faulty.Fault {
		if n == 1 {
			return f
		}
		return faulty.Fault{}
	}
}

func always(f faulty.Fault) func(int, int64) faulty.Fault {
	return func(int, int64) faulty.Fault { return f }
}

const (
	queueFull = `{"error":{"type":"rejected_execution_exception","reason":"rejected execution of coordinating operation"},"status":429}`
	blocked   = `{"error":{"type":"cluster_block_exception","reason":"index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"},"status":429}`
)

// itemStatuses is a bulk's answer with these statuses.
func itemStatuses(statuses ...int) string {
	items := make([]string, len(statuses))
	for i, status := range statuses {
		items[i] = fmt.Sprintf(`{"index":{"status":%d}}`, status)
		if status >= http.StatusMultipleChoices {
			items[i] = fmt.Sprintf(`{"index":{"status":%d,"error":{"type":"rejected_execution_exception","reason":"full"}}}`, status)
		}
	}
	return `{"errors":true,"items":[` + strings.Join(items, ",") + `]}`
}

// TestFaultsThatPass meets each fault once, in both modes: the nodes are
// written once and counted as stored, whether the server had acted or not.
func TestFaultsThatPass(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faulty.Fault{
		"cut before the server acted": {Cut: faulty.BeforeServer},
		"cut after the server acted":  {Cut: faulty.BeforeAnswer},
		"half an answer":              {Cut: faulty.InAnswer},
	} {
		t.Run(name, func(t *testing.T) { eachVersion(t, func(t *testing.T, b bed) { b.writeThrough(fault) }) })
	}
	// The proxy's own answers are the same in front of every version.
	for name, fault := range map[string]faulty.Fault{
		"queue of the request":  {Status: http.StatusTooManyRequests, Body: queueFull},
		"queue of each item":    {Status: http.StatusOK, Body: itemStatuses(429, 429, 429)},
		"items on a lost shard": {Status: http.StatusOK, Body: itemStatuses(503, 502, 504)},
		"502":                   {Status: http.StatusBadGateway, Body: "<html>"},
		"503":                   {Status: http.StatusServiceUnavailable},
		"504":                   {Status: http.StatusGatewayTimeout},
		"404 of a proxy":        {Status: http.StatusNotFound, Body: "<html>"},
		"404 without a body":    {Status: http.StatusNotFound},
		"404 of other JSON":     {Status: http.StatusNotFound, Body: `{"message":"no Route matched"}`},
		"500 of a proxy":        {Status: http.StatusInternalServerError, Body: "<html>"},
		"a proxy's own page":    {Status: http.StatusOK, Body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) { oldest(t).writeThrough(fault) })
	}
}

// writeThrough writes nodes in both modes, the first request each time through a fault.
func (b bed) writeThrough(fault faulty.Fault) {
	t := b.T
	faults := &bulks{fault: func(n int, _ int64) faulty.Fault {
		if n%2 == 1 {
			return fault
		}
		return faulty.Fault{}
	}}
	config := b.behind(faults.rule)
	var waited atomic.Int64
	config.Waiting = func(cause string, pause time.Duration) {
		if cause == "" || pause <= 0 {
			t.Errorf("waits %s for %q", pause, cause)
		}
		waited.Add(1)
	}
	target := openTarget(t, config)
	index := b.loading(target)
	rows := numbered(6)
	got, err := target.Write(t.Context(), index, batchOf(t, Versioned, rows[:3]...))
	wantFates(t, got, err, node.Fates{node.Stored: 3})
	index.loading = false
	got, err = target.Write(t.Context(), index, batchOf(t, CreateOnly, rows[3:]...))
	wantFates(t, got, err, node.Fates{node.Stored: 3})
	if faults.seen.Load() != 4 || waited.Load() != 2 {
		t.Errorf("%d requests, %d pauses", faults.seen.Load(), waited.Load())
	}
	for _, r := range rows {
		if sight := b.mustRead(target, r.id); sight.Copies != 1 || inner(t, sight.Data) != r.inner {
			t.Errorf("%s: %+v", r.id, sight)
		}
	}
}

func TestOnlyItemsWithoutAFateAreSentAgain(t *testing.T) {
	b := oldest(t)
	// The proxy says of the second node alone that it was stored.
	faults := &bulks{fault: first(faulty.Fault{Status: http.StatusOK, Body: itemStatuses(429, 201, 503)})}
	target := b.through(faults.rule)
	got, err := target.Write(t.Context(), b.loading(target), batchOf(t, Versioned, numbered(3)...))
	wantFates(t, got, err, node.Fates{node.Stored: 3})
	if !got.SentAgain {
		t.Error("the outcome does not say that nodes were sent again")
	}
	for i, copies := range []int{1, 0, 1} {
		if sight := b.mustRead(target, fmt.Sprint("n", i)); sight.Copies != copies {
			t.Errorf("n%d has %d copies", i, sight.Copies)
		}
	}
}

// TestSplitsDownToOneNode: of eight nodes, one is too large for a request of
// its own.
func TestSplitsDownToOneNode(t *testing.T) {
	b := oldest(t)
	const limit = 4 << 10
	faults := &bulks{fault: func(_ int, size int64) faulty.Fault {
		if size > limit {
			return faulty.Fault{Status: http.StatusRequestEntityTooLarge}
		}
		return faulty.Fault{}
	}}
	target := b.through(faults.rule)
	batch := NewBatch(16 << 10)
	for i := range 8 {
		size := 1 << 10
		if i == 5 {
			size = 80 << 10 // also asks before it sends
		}
		appendTo(t, batch, node.Node{ID: fmt.Append(nil, i), Data: payload(t, "", size), Micros: noon})
	}
	got, err := target.Write(t.Context(), b.loading(target), batch)
	wantFates(t, got, err, node.Fates{node.Stored: 7, node.Rejected: 1})
	if got.SentAgain {
		t.Error("what was too large in one request is said to be sent again")
	}
	if r := got.Rejected[0]; r.ID != "5" || r.Reason != ReasonTooLarge || r.Micros != noon {
		t.Errorf("rejected %+v", r)
	}
	for i := range 8 {
		if sight := b.mustRead(target, fmt.Sprint(i)); (sight.Copies == 1) != (i != 5) {
			t.Errorf("%d has %d copies", i, sight.Copies)
		}
	}
}

// TestBlockStops and does not try for ever: somebody has to make room first.
func TestBlockStops(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		faults := &bulks{fault: always(faulty.Fault{})}
		target := b.through(faults.rule)
		index := b.loading(target)
		for n, name := range []string{"read_only_allow_delete", "write", "read_only"} {
			setting := "index.blocks." + name
			b.Must(http.MethodPut, "/"+b.index()+"/_settings", `{"`+setting+`":true}`)
			got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
			if !errors.Is(err, cluster.ErrBlocked) || got.Fates.Sum() != 0 {
				t.Errorf("%s: fates %v", setting, got.Fates)
			}
			wantRefusal(t, err, "cluster_block_exception", "make room on the data nodes")
			if faults.seen.Load() != int64(n)+1 {
				t.Errorf("%d requests", faults.seen.Load())
			}
			b.Must(http.MethodPut, "/"+b.index()+"/_settings", `{"`+setting+`":null}`)
		}
		got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
		wantFates(t, got, err, node.Fates{node.Stored: 3})
	})
}

// TestAnswersThatStop are answers to the whole request after which nothing is
// sent again.
func TestAnswersThatStop(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault        faulty.Fault
		text, remedy string
	}{
		"block of the cluster":  {faulty.Fault{Status: 429, Body: blocked}, "cluster_block_exception", "make room"},
		"bad request":           {faulty.Fault{Status: 400, Body: `{"error":{"type":"x_content_parse_exception","reason":"no"}}`}, "x_content_parse_exception", ""},
		"internal error":        {faulty.Fault{Status: 500, Body: `{"error":{"type":"null_pointer_exception","reason":"no"},"status":500}`}, "status 500", ""},
		"half JSON":             {faulty.Fault{Status: 200, Body: `{"errors":true`}, "decode the answer", ""},
		"too few items":         {faulty.Fault{Status: 200, Body: itemStatuses(201, 429)}, "2 items for 3 documents", ""},
		"no word on an item":    {faulty.Fault{Status: 200, Body: `{"errors":true,"items":[{},{},{}]}`}, "0 words on one document", ""},
		"a pipeline that drops": {faulty.Fault{Status: 200, Body: `{"errors":false,"items":[{"index":{"result":"created","status":201}},{"index":{"result":"noop","status":200}},{"index":{"result":"created","status":201}}]}`}, "noop", "processor drop"},
		"unknown status":        {faulty.Fault{Status: 200, Body: itemStatuses(201, 500, 201)}, "status 500", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			faults := &bulks{fault: always(test.fault)}
			target := b.through(faults.rule)
			_, err := target.Write(t.Context(), b.loading(target), batchOf(t, Versioned, numbered(3)...))
			wantRefusal(t, err, test.text, test.remedy)
			if faults.seen.Load() != 1 {
				t.Errorf("%d requests", faults.seen.Load())
			}
		})
	}
}

func TestDroppedIndexIsNotCreatedAgain(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.loading(target)
		b.Must(http.MethodDelete, "/"+b.index(), "")
		got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
		if !errors.Is(err, ErrDropped) || !IsGone(err) || got.Fates.Sum() != 0 {
			t.Errorf("fates %v", got.Fates)
		}
		wantRefusal(t, err, "the daily index is gone", "run the same command again")
		if _, ok, err := target.Daily(t.Context(), today); ok || err != nil {
			t.Errorf("it is there again: %v, %v", ok, err)
		}
		for name, check := range map[string]func(context.Context, string) error{
			"refresh": func(ctx context.Context, name string) error { return target.Refresh(ctx, name) },
			"flush":   target.Flush,
		} {
			if err := check(t.Context(), b.index()); !IsGone(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestGivesUpWhenPatienceIsSpent(t *testing.T) {
	b := oldest(t)
	faults := &bulks{fault: always(faulty.Fault{Status: http.StatusServiceUnavailable})}
	config := b.behind(faults.rule)
	config.Patience = 200 * time.Millisecond
	target := openTarget(t, config)
	got, err := target.Write(t.Context(), b.loading(target), batchOf(t, Versioned, numbered(3)...))
	wantRefusal(t, err, "gave up after", "run the same command again to resume")
	wantRefusal(t, err, "status 503", "")
	if n := faults.seen.Load(); n < 3 || n > 6 || got.Fates.Sum() != 0 {
		t.Errorf("%d requests, fates %v", n, got.Fates)
	}
}

func TestCancelledWrite(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault   faulty.Fault
		waiting bool
	}{
		"while the server is silent": {fault: faulty.Fault{Delay: time.Hour}},
		"while it waits":             {fault: faulty.Fault{Status: http.StatusServiceUnavailable}, waiting: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			faults := &bulks{fault: func(int, int64) faulty.Fault {
				if !test.waiting {
					cancel()
				}
				return test.fault
			}}
			config := b.behind(faults.rule)
			config.Waiting = func(string, time.Duration) { cancel() }
			target := openTarget(t, config)
			index := b.loading(target)
			start := time.Now()
			_, err := target.Write(ctx, index, batchOf(t, Versioned, numbered(3)...))
			if !errors.Is(err, context.Canceled) || time.Since(start) > 10*time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		})
	}
}
