package records

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target/targettest"
)

// store is that of a test, in an index that its template does not match.
func (b bed) store() Store {
	b.T.Helper()
	r := In(b.Target, "records-"+b.Name)
	b.T.Cleanup(func() { b.Call(http.MethodDelete, "/"+r.index, "") })
	if err := r.Ensure(b.T.Context()); err != nil {
		b.T.Fatal(err)
	}
	return r
}

func TestRecordVersions(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		ctx, r := t.Context(), b.store()
		if err := r.Ensure(ctx); err != nil {
			t.Fatalf("a second Ensure: %v", err)
		}
		const id = "a/b c"
		if none, err := r.Get(ctx, id); err != nil || none.Body != nil {
			t.Fatalf("a record that is not there: %q, %v", none.Body, err)
		}
		first, err := r.Put(ctx, id, []byte(`{"n":1}`), Record{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Put(ctx, id, []byte(`{"n":2}`), Record{}); !errors.Is(err, ErrChanged) {
			t.Errorf("a second creation: %v, want ErrChanged", err)
		}
		second, err := r.Put(ctx, id, []byte(`{"n":3}`), first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Put(ctx, id, []byte(`{"n":4}`), first); !errors.Is(err, ErrChanged) {
			t.Errorf("a write over an older version: %v, want ErrChanged", err)
		}
		found, err := r.Get(ctx, id)
		if err != nil || string(found.Body) != `{"n":3}` || !found.Same(second) || found.Same(first) {
			t.Errorf("%q, %v", found.Body, err)
		}
	})
}

// An index of records is hidden, and stays away when somebody has removed it.
func TestRecordsIndex(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		r := b.store()
		settings := b.Must(http.MethodGet, "/"+r.index+"/_settings?flat_settings", "")
		if text := fmt.Sprint(settings); !strings.Contains(text, "index.hidden:true") || !strings.Contains(text, "index.translog.durability:request") {
			t.Errorf("settings %s", text)
		}
		last, err := r.Put(t.Context(), "a", []byte(`{}`), Record{})
		if err != nil {
			t.Fatal(err)
		}
		b.Must(http.MethodDelete, "/"+r.index, "")
		for _, last := range []Record{last, {}} {
			_, err = r.Put(t.Context(), "a", []byte(`{"n":1}`), last)
			wantRemedy(t, err, "status 404", "somebody removed the checkpoint's index")
		}
		if status, _ := b.Call(http.MethodGet, "/"+r.index, ""); status != http.StatusNotFound {
			t.Errorf("the index came back: status %d", status)
		}
	})
}

func TestRecordsAwayFromTheAlias(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		ctx := t.Context()
		wide := "wide-" + b.Name
		b.Must(http.MethodPut, "/_index_template/"+wide, fmt.Sprintf(`{"index_patterns":["%s-*"],"template":{"aliases":{"%s":{}}}}`, wide, b.Name))
		t.Cleanup(func() { b.Call(http.MethodDelete, "/_index_template/"+wide, "") })
		b.Must(http.MethodPut, "/used-"+b.Name, "{}")
		t.Cleanup(func() { b.Call(http.MethodDelete, "/used-"+b.Name, "") })
		for name, text := range map[string]string{
			b.Name:            "would be Sentry's",
			b.Index():         "would be Sentry's",
			wide + "-1":       "would put index",
			"used-" + b.Name:  "is in other use",
			"Upper-" + b.Name: "invalid_index_name_exception",
		} {
			err := In(b.Target, name).Ensure(ctx)
			wantRemedy(t, err, text, "another name")
		}
	})
}

// Whether an attempt whose answer was lost has succeeded is told apart from
// another writer's success.
func TestRecordAfterLostAnswer(t *testing.T) {
	b := bedIn(testservers.OldestCorner(t))
	direct := b.store()
	rival := ""
	lossy := In(targettest.Through(b.Corner, func(r *http.Request, _ int) faulty.Fault {
		if !strings.HasSuffix(r.URL.Path, "/_bulk") || rival == "done" {
			return faulty.Fault{}
		}
		if rival == "" {
			rival = "done"
			return faulty.Fault{Cut: faulty.BeforeAnswer}
		}
		if _, err := direct.Put(t.Context(), "b", []byte(rival), Record{}); err != nil {
			t.Error(err)
		}
		rival = "done"
		return faulty.Fault{Cut: faulty.BeforeServer}
	}), direct.index)
	written, err := lossy.Put(t.Context(), "a", []byte(`{"n":1}`), Record{})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := direct.Get(t.Context(), "a"); err != nil || !found.Same(written) {
		t.Errorf("%v, %v; want %v", found, err, written)
	}
	rival = `{"n":"rival"}`
	if _, err := lossy.Put(t.Context(), "b", []byte(`{"n":1}`), Record{}); !errors.Is(err, ErrChanged) {
		t.Errorf("a rival was faster: %v, want ErrChanged", err)
	}
}

func TestRecordChange(t *testing.T) {
	const writers, each = 4, 5
	b := bedIn(testservers.OldestCorner(t))
	r := b.store()
	errs := make(chan error, writers)
	for range writers {
		go func() {
			for range each {
				_, err := r.Change(t.Context(), "sum", func(old []byte) ([]byte, error) {
					if old == nil {
						old = []byte(`{}`)
					}
					return fmt.Appendf(nil, `{"one":%s}`, old), nil
				})
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	found, err := r.Get(t.Context(), "sum")
	if n := strings.Count(string(found.Body), "one"); err != nil || n != writers*each {
		t.Errorf("%d changes are there, want %d: %v", n, writers*each, err)
	}
}
