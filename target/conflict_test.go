package target

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// sentryWrites writes a document as Sentry does.
func (b bed) sentryWrites(id string, micros int64, inner string) {
	b.T.Helper()
	b.Must(http.MethodPut, "/"+b.index()+"/_doc/"+id, fmt.Sprintf(`{"data":%q,"timestamp":%q}`,
		payload(b.T, inner, 0), time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000000-07:00")))
}

// TestCreateOnlyRespectsSentry also has a replica that no node can hold: what
// waits for all copies would hang.
func TestCreateOnlyRespectsSentry(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		b.backend.Replicas = 1
		target := b.open()
		index := b.plain(target)
		if index.Origin != nil || index.Loading() {
			t.Errorf("not Sentry's: %+v", index)
		}
		b.sentryWrites("older", noon-1000, "Sentry's")
		b.sentryWrites("newer", noon+1000, "Sentry's")
		b.sentryWrites("equal", noon, "Sentry's")
		rows := []row{{"older", noon, "ours"}, {"newer", noon, "ours"}, {"equal", noon, "ours"}, {"equal µs", noon, "ours"}, {"new", noon, "ours"}}
		b.sentryWrites("equal%20%C2%B5s", noon+999, "Sentry's") // OpenSearch keeps milliseconds
		for again, want := range []node.Fates{
			{node.Stored: 2, node.Superseded: 1, node.AlreadyThere: 2},
			{node.AlreadyThere: 4, node.Superseded: 1},
		} {
			got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, rows...))
			wantFates(t, got, err, want)
			for id, owner := range map[string]string{"older": "ours", "newer": "Sentry's", "equal": "Sentry's", "equal µs": "Sentry's", "new": "ours"} {
				if sight := b.mustRead(target, id); sight.Copies != 1 || inner(t, sight.Data) != owner {
					t.Errorf("pass %d: %s has %d copies, %q", again, id, sight.Copies, inner(t, sight.Data))
				}
			}
		}
	})
}

func TestCreateOnlyWithoutAnIndexCreatesItAsSentryWould(t *testing.T) {
	b := oldest(t)
	target := b.open()
	if _, err := target.EnsureTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := target.Write(t.Context(), Index{Name: b.index(), Day: today}, batchOf(t, CreateOnly, row{"a", noon, "first"}, row{"a", noon + 1000, "second"}))
	wantFates(t, got, err, node.Fates{node.Stored: 2})
	if index := b.daily(target); index.Origin != nil || index.Loading() {
		t.Errorf("not as Sentry's: %+v", index)
	}
	if sight := b.mustRead(target, "a"); inner(t, sight.Data) != "second" {
		t.Errorf("%q", inner(t, sight.Data))
	}
}

// TestCreateOnlyRespectsAConcurrentChange lets Sentry act between the look at a
// document and its replacement.
func TestCreateOnlyRespectsAConcurrentChange(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		acts  func(b bed)
		fates node.Fates
		inner string
	}{
		"rewritten": {func(b bed) { b.sentryWrites("a", noon+5000, "Sentry's again") }, node.Fates{node.Superseded: 1}, "Sentry's again"},
		"same time": {func(b bed) { b.sentryWrites("a", noon, "Sentry's again") }, node.Fates{node.AlreadyThere: 1}, "Sentry's again"},
		"older yet": {func(b bed) { b.sentryWrites("a", noon-1, "Sentry's again") }, node.Fates{node.Stored: 1}, "ours"},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, b bed) {
				bulks := 0
				target := b.through(func(r *http.Request, _ int) faulty.Fault {
					if isBulk(r) {
						if bulks++; bulks == 2 {
							test.acts(b)
						}
					}
					return faulty.Fault{}
				})
				index := b.plain(target)
				b.sentryWrites("a", noon-5000, "Sentry's")
				got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, row{"a", noon, "ours"}))
				wantFates(t, got, err, test.fates)
				if sight := b.mustRead(target, "a"); sight.Copies != 1 || inner(t, sight.Data) != test.inner {
					t.Errorf("%d copies, %q", sight.Copies, inner(t, sight.Data))
				}
			})
		})
	}
}

// TestDeletedBetweenConflictAndLook lets Sentry delete before the look.
func TestDeletedBetweenConflictAndLook(t *testing.T) {
	b := oldest(t)
	target := b.through(func(r *http.Request, _ int) faulty.Fault {
		if strings.HasSuffix(r.URL.Path, "/_refresh") {
			b.Call(http.MethodDelete, "/"+b.index()+"/_doc/a", "")
		}
		return faulty.Fault{}
	})
	index := b.plain(target)
	b.sentryWrites("a", noon-5000, "Sentry's")
	got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, row{"a", noon, "ours"}))
	wantFates(t, got, err, node.Fates{node.Vanished: 1})
}

// TestReplacementMeetsFaults: every step of a replacement is cut once.
func TestReplacementMeetsFaults(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]faulty.Cut{"before server": faulty.BeforeServer, "before answer": faulty.BeforeAnswer, "in answer": faulty.InAnswer} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			var armed atomic.Bool
			met := make(map[string]bool)
			target := b.through(func(r *http.Request, _ int) faulty.Fault {
				step := r.URL.String()
				if !armed.Load() || met[step] {
					return faulty.Fault{}
				}
				met[step] = true
				return faulty.Fault{Cut: cut}
			})
			index := b.plain(target)
			b.sentryWrites("older", noon-5000, "Sentry's")
			b.sentryWrites("newer", noon+5000, "Sentry's")
			armed.Store(true)
			got, err := target.Write(t.Context(), index, batchOf(t, CreateOnly, row{"older", noon, "ours"}, row{"newer", noon, "ours"}, row{"new", noon, "ours"}))
			armed.Store(false)
			if err != nil || got.Fates.Sum() != 3 || got.Fates[node.Superseded] != 1 {
				t.Errorf("fates %v, %v", got.Fates, err)
			}
			for id, owner := range map[string]string{"older": "ours", "newer": "Sentry's", "new": "ours"} {
				if sight := b.mustRead(target, id); sight.Copies != 1 || inner(t, sight.Data) != owner {
					t.Errorf("%s has %d copies, %q", id, sight.Copies, inner(t, sight.Data))
				}
			}
		})
	}
}
