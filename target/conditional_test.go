package target

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// TestRemovalsHaveAnAnswer: what was refused for the moment is sent again, and
// what was carried out without an answer is not called changed.
func TestRemovalsHaveAnAnswer(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faulty.Fault{
		"queue of each item":    {Status: http.StatusOK, Body: itemStatuses(429, 503)},
		"queue of the request":  {Status: http.StatusTooManyRequests, Body: queueFull},
		"too large for a proxy": {Status: http.StatusRequestEntityTooLarge, Body: "<html>413</html>"},
		"page of a proxy":       {Status: http.StatusNotFound, Body: page404},
		"cut before the server": {Cut: faulty.BeforeServer},
		"cut after the server":  {Cut: faulty.BeforeAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			faults := &bulks{fault: func(n int, _ int64) faulty.Fault {
				if n == 2 {
					return fault
				}
				return faulty.Fault{}
			}}
			target := b.through(faults.rule)
			copies := b.written(target, 3)
			b.Must(http.MethodDelete, "/"+b.index()+"/_doc/n2", "")
			changed := copies[2]
			removed, err := target.Remove(t.Context(), copies[:2])
			if len(removed) != 2 || err != nil {
				t.Errorf("removed %v, %v", removed, err)
			}
			if removed, err = target.Remove(t.Context(), []Copy{changed}); len(removed) != 0 || err != nil {
				t.Errorf("of somebody else's %v, %v", removed, err)
			}
		})
	}
}

// written writes nodes to today's index and returns them as copies, by id.
func (b bed) written(target *Target, n int) []Copy {
	b.T.Helper()
	got, err := target.Write(b.T.Context(), b.plain(target), batchOf(b.T, CreateOnly, numbered(n)...))
	wantFates(b.T, got, err, node.Fates{node.Stored: int64(n)})
	b.Must(http.MethodPost, "/"+b.index()+"/_refresh", "")
	copies := make([]Copy, n)
	for i := range copies {
		found, err := target.Copies(b.T.Context(), b.index(), []string{fmt.Sprint("n", i)})
		if err != nil || len(found) != 1 {
			b.T.Fatalf("%v, %v", found, err)
		}
		copies[i] = found[0]
	}
	return copies
}

func TestBlockStopsRemovals(t *testing.T) {
	b := oldest(t)
	target := b.open()
	copies := b.written(target, 2)
	b.Must(http.MethodPut, "/"+b.index()+"/_settings", `{"index.blocks.write":true}`)
	if _, err := target.Remove(t.Context(), copies); !errors.Is(err, cluster.ErrBlocked) {
		t.Errorf("%v", err)
	}
}

// TestRemovalsNameNoIndexInTheBody: rest.action.multi.allow_explicit_index may forbid it.
func TestRemovalsNameNoIndexInTheBody(t *testing.T) {
	b := oldest(t)
	var paths []string
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		if isBulk(r) {
			paths = append(paths, r.URL.Path)
		}
		return faulty.Fault{}
	})
	copies := b.written(target, 1)
	b.Must(http.MethodPut, "/"+b.backend.IndexOf(today+1)+"/_doc/x?refresh=true", `{"data":"x","timestamp":"2024-10-05T00:00:00Z"}`)
	other, err := target.Copies(t.Context(), b.backend.IndexOf(today+1), []string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	if removed, err := target.Remove(t.Context(), append(copies, other...)); len(removed) != 2 || err != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
	for _, path := range paths {
		if path == "/_bulk" {
			t.Errorf("bulk to %s", path)
		}
	}
}

// TestReplaceWritesOverExactlyThatCopy, also over a newer one.
func TestReplaceWritesOverExactlyThatCopy(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.plain(target)
		b.sentryWrites("newer", noon+5000, "Sentry's")
		b.sentryWrites("changed", noon+5000, "Sentry's")
		b.Must(http.MethodPost, "/"+b.index()+"/_refresh", "")
		copies, err := target.Copies(t.Context(), index.Name, []string{"newer", "changed"})
		if err != nil {
			t.Fatal(err)
		}
		b.sentryWrites("changed", noon+6000, "Sentry's again")
		batch := batchOf(t, CreateOnly, row{"newer", noon, "ours"}, row{"changed", noon, "ours"}, row{"without a copy", noon, "ours"})
		replaced, err := target.Replace(t.Context(), index, batch, copies)
		if err != nil || len(replaced) != 1 || replaced[0].ID != "newer" {
			t.Errorf("replaced %v, %v", replaced, err)
		}
		for id, owner := range map[string]string{"newer": "ours", "changed": "Sentry's again"} {
			if sight := b.mustRead(target, id); sight.Copies != 1 || inner(t, sight.Data) != owner {
				t.Errorf("%s: %+v", id, sight)
			}
		}
		if sight := b.mustRead(target, "without a copy"); sight.Copies != 0 {
			t.Errorf("%+v", sight)
		}
	})
}

// TestReplacedWithoutAnAnswer: what was carried out though its answer was lost
// is reported as replaced, and what Sentry changed is not.
func TestReplacedWithoutAnAnswer(t *testing.T) {
	b := oldest(t)
	faults := &bulks{fault: first(faulty.Fault{Cut: faulty.BeforeAnswer})}
	target := b.through(faults.rule)
	index := b.plain(target)
	for _, id := range []string{"newer", "changed"} {
		b.sentryWrites(id, noon+5000, "Sentry's")
	}
	b.Must(http.MethodPost, "/"+b.index()+"/_refresh", "")
	copies, err := target.Copies(t.Context(), index.Name, []string{"newer", "changed"})
	if err != nil {
		t.Fatal(err)
	}
	b.sentryWrites("changed", noon+6000, "Sentry's again")
	replaced, err := target.Replace(t.Context(), index, batchOf(t, CreateOnly, row{"newer", noon, "ours"}, row{"changed", noon, "ours"}), copies)
	if err != nil || len(replaced) != 1 || replaced[0].ID != "newer" {
		t.Errorf("replaced %v, %v", replaced, err)
	}
}

// TestManyInOneMillisecond are more than one search returns, in shards that
// count their sequence numbers alike.
func TestManyInOneMillisecond(t *testing.T) {
	b := oldest(t)
	b.backend.Shards = 3
	target := b.open()
	index := b.plain(target)
	const n = 2*maxLookup + 50
	var body strings.Builder
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("n", i)
		fmt.Fprintf(&body, "{\"create\":{\"_id\":%q}}\n{\"timestamp\":%q}\n", ids[i], "2024-10-04T12:00:00.000Z")
	}
	b.Must(http.MethodPost, "/"+index.Name+"/_bulk?refresh=true", body.String())
	seen := make(map[string]int)
	count := func(page []Copy) error {
		if len(page) > maxLookup {
			t.Errorf("%d at a time", len(page))
		}
		for _, c := range page {
			seen[c.ID]++
		}
		return nil
	}
	if err := target.Between(t.Context(), b.backend.Alias, noon/1000, noon/1000+1, count); err != nil {
		t.Fatal(err)
	}
	copies, err := target.Copies(t.Context(), index.Name, ids)
	if err != nil || len(copies) != n || len(seen) != n {
		t.Errorf("%d copies, %d between, %v", len(copies), len(seen), err)
	}
	for id, times := range seen {
		if times != 1 {
			t.Fatalf("%s came %d times", id, times)
		}
	}
}
