package target

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestReadSeesWhatSentrySees(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.loading(target)
		got, err := target.Write(t.Context(), index, batchOf(t, Versioned, row{"once", noon, "once"}, row{"twice", noon, "older"}))
		wantFates(t, got, err, node.Fates{node.Stored: 2})
		b.Must(http.MethodPut, "/"+b.backend.IndexOf(today+1)+"/_doc/twice", `{"data":"x","timestamp":"2024-10-05T00:00:00+00:00"}`)
		b.Must(http.MethodPut, "/"+b.backend.IndexOf(today+1)+"/_doc/without", `{"timestamp":"2024-10-05T00:00:00+00:00"}`)

		sight := b.mustRead(target, "once")
		if sight.Copies != 1 || sight.Index != b.index() || inner(t, sight.Data) != "once" {
			t.Errorf("once: %+v", sight)
		}
		if sight = b.mustRead(target, "twice"); sight.Copies != 2 || sight.Index != "" || sight.Data != nil {
			t.Errorf("twice: %+v", sight)
		}
		if sight = b.mustRead(target, "never"); sight.Copies != 0 || sight.Index != "" || sight.Data != nil {
			t.Errorf("never: %+v", sight)
		}
		if sight = b.mustRead(target, "without"); sight.Copies != 1 || sight.Data != nil {
			t.Errorf("without: %+v", sight)
		}
		if count, err := target.Count(t.Context(), b.backend.Alias, nil); count != 4 || err != nil {
			t.Errorf("count %d, %v", count, err)
		}
	})
}

// TestReadWithoutAnAlias finds nothing: there is no index yet.
func TestReadWithoutAnAlias(t *testing.T) {
	b := oldest(t)
	if sight, err := b.open().Read(t.Context(), "a"); sight.Copies != 0 || sight.Millis != -1 || err != nil {
		t.Errorf("%+v, %v", sight, err)
	}
}

// isGet tells the second of the reader's requests.
func isGet(r *http.Request) bool { return strings.Contains(r.URL.Path, "/_doc/") }

func TestReadOfWhatIsDeletedBetweenItsRequests(t *testing.T) {
	b := oldest(t)
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		if isGet(r) {
			return faulty.Fault{Status: http.StatusNotFound, Body: `{"_index":"x","_id":"a","found":false}`}
		}
		return faulty.Fault{}
	})
	got, err := target.Write(t.Context(), b.loading(target), batchOf(t, Versioned, numbered(1)...))
	wantFates(t, got, err, node.Fates{node.Stored: 1})
	if sight := b.mustRead(target, "n0"); sight.Copies != 1 || sight.Data != nil {
		t.Errorf("%+v", sight)
	}
}

// TestErrorOfReadHoldsNoPayload: a proxy that ends an answer too early gives
// the library JSON that it cannot read, and quotes.
func TestErrorOfReadHoldsNoPayload(t *testing.T) {
	b := oldest(t)
	data := string(payload(t, "marker", 0))
	for _, answer := range []string{`{"fields":{"data":["` + data, `{"fields":"` + data + `"}`, `{"fields":{"data":"` + data + `"}}`, data} {
		for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
			target := b.through(func(r *http.Request, _ int) faulty.Fault {
				if isGet(r) {
					return faulty.Fault{Status: status, Body: answer}
				}
				return faulty.Fault{}
			})
			if _, err := target.EnsureTemplate(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.Must(http.MethodPut, "/"+b.index()+"/_doc/a", `{"data":"`+data+`","timestamp":0}`)
			b.Must(http.MethodPost, "/"+b.index()+"/_refresh", "")
			_, err := target.Read(t.Context(), "a")
			if err == nil || strings.Contains(err.Error(), data[:16]) {
				t.Errorf("status %d, answer %.20s: %v", status, answer, err)
			}
		}
	}
}
