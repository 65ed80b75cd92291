package onindex

import (
	"context"
	crypto "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/mediumtest"
	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// TestMain also finds hearts that beat on after Close.
func TestMain(m *testing.M) {
	os.Exit(testservers.RunWithoutLeaks(m))
}

// testLease is long enough for a beat to come in time on a busy machine.
const testLease = 2 * time.Second

// newPlace is a checkpoint in an index of the test's own.
func newPlace(t *testing.T, server string) Place {
	t.Helper()
	name := "onindex-" + strings.ToLower(crypto.Text()[:10])
	t.Cleanup(func() { remove(t, server+"/"+name) })
	return reach(t, server, name)
}

// reach is the checkpoint in an index, through an address of the server.
func reach(t *testing.T, server, index string) Place {
	t.Helper()
	backend := target.Backend{Alias: "sentry", Template: "sentry", Index: "sentry-{date}", Pattern: "sentry-*"}
	to, err := target.Open(t.Context(), target.Config{Config: cluster.Config{URLs: []string{server}}, Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	place := Place{Records: records.In(to, index), Key: "sentry/all", Lease: testLease}
	if err := place.Records.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return place
}

func remove(t *testing.T, address string) {
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodDelete, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// newest is the server for what does not depend on versions.
func newest(t *testing.T) string {
	t.Helper()
	versions := testservers.OpenSearchVersions()
	return testservers.OpenSearch(t, versions[len(versions)-1])
}

func mustOpen(t *testing.T, place Place) *Medium {
	t.Helper()
	m, err := Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// stop is what SIGSTOP or a broken network does: the heart stands still, and
// nothing is given free.
func (m *Medium) standStill() {
	m.held.stop()
	m.heart.Wait()
}

func write(t *testing.T, m *Medium, document string) {
	t.Helper()
	if err := m.Write(t.Context(), []byte(document)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, place Place, document string) {
	t.Helper()
	data, err := Read(t.Context(), place)
	if err != nil || string(data) != document {
		t.Errorf("the checkpoint is %q, %v; want %q", data, err, document)
	}
}

func TestIndexIsAMedium(t *testing.T) {
	t.Parallel()
	for _, version := range testservers.OpenSearchVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := testservers.OpenSearch(t, version)
			mediumtest.Run(t, func(t *testing.T) mediumtest.Open {
				place := newPlace(t, server)
				return func() (checkpoint.Medium, error) {
					m, err := Open(t.Context(), place)
					if err != nil {
						return nil, err
					}
					return m, nil
				}
			})
		})
	}
}

// A holder that was silent for a lease has lost the checkpoint for good: its
// writes change nothing, whether there was a document or not.
func TestSilentHolderIsFenced(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"before its first write": "", "after a write": `{"n":1}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := newPlace(t, newest(t))
			old := mustOpen(t, place)
			if first != "" {
				write(t, old, first)
			}
			old.standStill()
			watched := ""
			place.Waiting = func(holder string) { watched = holder }
			next := mustOpen(t, place)
			if watched != checkpoint.Holder() {
				t.Errorf("told to wait for %q, want %q", watched, checkpoint.Holder())
			}
			if data, err := next.Read(t.Context()); string(data) != first || (first == "") != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the next holder reads %q, %v; want %q", data, err, first)
			}
			for range 2 {
				err := old.Write(t.Context(), []byte(`{"n":"old"}`))
				if _, ok := errors.AsType[*TakenError](err); !ok || !errors.Is(err, checkpoint.ErrHeld) {
					t.Errorf("write of the old holder = %v, want that it was taken over", err)
				}
			}
			if _, err := old.Read(t.Context()); !errors.Is(err, checkpoint.ErrHeld) {
				t.Errorf("read of the old holder = %v, want ErrHeld", err)
			}
			write(t, next, `{"n":2}`)
			want(t, place, `{"n":2}`)
			if err := old.Close(); err != nil {
				t.Error(err)
			}
			if _, err := Open(t.Context(), place); !errors.Is(err, checkpoint.ErrHeld) {
				t.Errorf("open after the old holder's close = %v, want ErrHeld", err)
			}
		})
	}
}

// A holder that took the lock, slept, and then comes to the state must not
// fence the one that took over meanwhile.
func TestLateFence(t *testing.T) {
	t.Parallel()
	place := newPlace(t, newest(t))
	held, err := hold(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	late := &Medium{held: held}
	late.standStill()
	next := mustOpen(t, place)
	write(t, next, `{"n":1}`)
	if err := late.fence(t.Context()); !errors.Is(err, checkpoint.ErrHeld) {
		t.Errorf("late fence = %v, want ErrHeld", err)
	}
	write(t, next, `{"n":2}`)
}

func TestHeldNamesTheHolder(t *testing.T) {
	t.Parallel()
	place := newPlace(t, newest(t))
	mustOpen(t, place)
	_, err := Open(t.Context(), place)
	if !errors.Is(err, checkpoint.ErrHeld) || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", os.Getpid())) || hint.Of(err) == "" {
		t.Errorf("open = %v, want ErrHeld with the holder and a hint", err)
	}
	other := place
	other.Key = "sentry/shard-1-of-2"
	mustOpen(t, other) // another checkpoint in the same index
}

// Of many that want a free checkpoint at once, one gets it.
func TestOneWins(t *testing.T) {
	t.Parallel()
	const many = 6
	place := newPlace(t, newest(t))
	type opened struct {
		medium *Medium
		err    error
	}
	results := make(chan opened, many)
	for range many {
		go func() {
			m, err := Open(t.Context(), place)
			results <- opened{m, err}
		}()
	}
	holders := 0
	for range many {
		switch r := <-results; {
		case r.err == nil:
			holders++
			t.Cleanup(func() {
				if err := r.medium.Close(); err != nil {
					t.Error(err)
				}
			})
		case !errors.Is(r.err, checkpoint.ErrHeld):
			t.Error(r.err)
		}
	}
	if holders != 1 {
		t.Errorf("%d hold the checkpoint, want 1", holders)
	}
}

// Answers get lost on the way back: what was written is told from what was not.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]faulty.Cut{
		"before the server": faulty.BeforeServer, "before the answer": faulty.BeforeAnswer, "in the answer": faulty.InAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newest(t)
			direct := newPlace(t, server)
			host, err := url.Parse(server)
			if err != nil {
				t.Fatal(err)
			}
			// Every second one would cut the state's each time: a beat, sent again, is two.
			// Three in a row, and what comes is waited for longer than a lease.
			rng := rand.New(rand.NewPCG(1, uint64(cut)))
			row := 0
			proxy := faulty.NewHTTPProxy(t, host.Host, func(r *http.Request, _ int) faulty.Fault {
				if !strings.HasSuffix(r.URL.Path, "/_bulk") || row == 2 || rng.IntN(2) == 1 {
					row = 0
					return faulty.Fault{}
				}
				row++
				return faulty.Fault{Cut: cut}
			})
			place := reach(t, proxy.URL(), direct.Records.Index())
			m := mustOpen(t, place)
			for n := range 5 {
				document := fmt.Sprintf(`{"n":%d}`, n)
				write(t, m, document)
				want(t, direct, document)
			}
		})
	}
}

func TestReadOfNothing(t *testing.T) {
	t.Parallel()
	if _, err := Read(t.Context(), newPlace(t, newest(t))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read = %v, want fs.ErrNotExist", err)
	}
}

// The list of a run that crashed between its list and its checkpoint is
// replaced by the next run's, and a run that lost its checkpoint cannot append.
func TestRejectedList(t *testing.T) {
	t.Parallel()
	place := newPlace(t, newest(t))
	old := mustOpen(t, place)
	appendLines(t, old, 0, "one\n")
	appendLines(t, old, 4, "two and a half\n")
	old.standStill()
	next := mustOpen(t, place)
	appendLines(t, next, 4, "two\n")
	appendLines(t, next, 8, "three\n")
	if err := old.Rejected().Append(t.Context(), 4, []byte("old\n")); !errors.Is(err, checkpoint.ErrHeld) {
		t.Errorf("append of the old holder = %v, want ErrHeld", err)
	}
	var list strings.Builder
	err := EachRejected(t.Context(), place, 14, func(text []byte) error {
		list.Write(text)
		return nil
	})
	if err != nil || list.String() != "one\ntwo\nthree\n" {
		t.Errorf("the list is %q, %v", list.String(), err)
	}
	err = EachRejected(t.Context(), place, 15, func([]byte) error { return nil })
	if !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("a list that is too short: %v, want ErrDamaged", err)
	}
}

func appendLines(t *testing.T, m *Medium, at int64, text string) {
	t.Helper()
	if err := m.Rejected().Append(t.Context(), at, []byte(text)); err != nil {
		t.Fatal(err)
	}
}
