package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

var bound = Binding{
	Source: node.Origin{System: "7412", Database: "sentry", Table: "nodestore_node", Region: "de"},
	Target: Target{Cluster: "kZ1c", Alias: "sentry", Index: "sentry-{date}"},
}

// document is one that a run could have written.
func document(t testing.TB) []byte {
	t.Helper()
	replicas := "1"
	state := State{
		Binding:  bound,
		Days:     map[string]*Day{"2026-01-31": {Index: "sentry-2026-01-31", Done: Ranges{{1, 2}, {3, 4}}}},
		Borrowed: map[string]Borrowed{"sentry-2026-01-31": {Settings: map[string]*string{"index.number_of_replicas": &replicas}}},
	}
	data, err := state.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// openOver opens the checkpoint in a file with this content, and checks that a
// refused one is left as it is.
func openOver(t *testing.T, content []byte, b Binding) (State, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.checkpoint")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	c, err := Open(t.Context(), m, b)
	if err == nil {
		return c.state, nil
	}
	after, readErr := os.ReadFile(path)
	if readErr != nil || !bytes.Equal(after, content) {
		t.Errorf("a refused checkpoint was changed: %q, %v", after, readErr)
	}
	return State{}, err
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"empty":             ``,
		"blank":             "\n",
		"zeros":             "\x00\x00\x00",
		"not JSON":          `done: 1`,
		"null":              `null`,
		"a list":            `[]`,
		"no format":         `{}`,
		"negative format":   `{"format":-1}`,
		"two documents":     `{"format":1}{"format":1}`,
		"no days":           `{"format":1,"days":null}`,
		"a day that is not": `{"format":1,"days":{"2026-02-30":{}}}`,
		"a null day":        `{"format":1,"days":{"2026-01-31":null}}`,
		"an empty range":    `{"format":1,"days":{"2026-01-31":{"done":[{"from":1,"to":1}]}}}`,
		"touching ranges":   `{"format":1,"days":{"2026-01-31":{"done":[{"from":1,"to":2},{"from":2,"to":3}]}}}`,
		"unknown fate":      `{"format":1,"days":{"2026-01-31":{"fates":{"mislaid":1}}}}`,
		"a wrong type":      `{"format":1,"copy_until":"now"}`,
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := openOver(t, []byte(content), bound); !errors.Is(err, ErrDamaged) || hint.Of(err) == "" {
				t.Errorf("open = %v, want ErrDamaged with a hint", err)
			}
		})
	}
}

func TestEveryTruncationIsDamage(t *testing.T) {
	t.Parallel()
	whole := bytes.TrimSuffix(document(t), []byte("\n"))
	for n := range whole {
		if _, err := Decode(whole[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v, want ErrDamaged", n, len(whole), err)
		}
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	_, err := openOver(t, []byte(`{"format":2,"tool":"v9.1.0","days":[]}`), bound)
	newer, ok := errors.AsType[*NewerError](err)
	if !ok || *newer != (NewerError{Format: 2, Tool: "v9.1.0"}) || hint.Of(err) == "" {
		t.Errorf("open = %v, want a NewerError with a hint", err)
	}
}

// A field of a later version with the same format is not refused.
func TestUnknownField(t *testing.T) {
	t.Parallel()
	content := bytes.Replace(document(t), []byte(`{"format":1,`), []byte(`{"format":1,"later":true,`), 1)
	if _, err := openOver(t, content, bound); err != nil {
		t.Error(err)
	}
}

func TestReadOfNothing(t *testing.T) {
	t.Parallel()
	_, err := Read(filepath.Join(t.TempDir(), "a.checkpoint"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read = %v, want fs.ErrNotExist", err)
	}
}

// Promise 9: one source, one target.
func TestBinding(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Binding)
		want   MismatchError
	}{
		"the same":       {func(*Binding) {}, MismatchError{}},
		"system":         {func(b *Binding) { b.Source.System = "8" }, MismatchError{"source system", "7412", "8", true}},
		"unknown system": {func(b *Binding) { b.Source.System = "" }, MismatchError{}},
		"database":       {func(b *Binding) { b.Source.Database = "us" }, MismatchError{"source database", "sentry", "us", true}},
		"table":          {func(b *Binding) { b.Source.Table = "old" }, MismatchError{"source table", "nodestore_node", "old", true}},
		"region":         {func(b *Binding) { b.Source.Region = "us" }, MismatchError{"source region", "de", "us", false}},
		"unknown region": {func(b *Binding) { b.Source.Region = "" }, MismatchError{}},
		"cluster":        {func(b *Binding) { b.Target.Cluster = "x" }, MismatchError{"target cluster", "kZ1c", "x", false}},
		"alias":          {func(b *Binding) { b.Target.Alias = "us" }, MismatchError{"target alias", "sentry", "us", false}},
		"index":          {func(b *Binding) { b.Target.Index = "us-{date}" }, MismatchError{"target index", "sentry-{date}", "us-{date}", false}},
		"no database":    {func(b *Binding) { b.Source.Database = "" }, MismatchError{"source database", "sentry", "", true}},
		"unknown system, other table": {
			func(b *Binding) { b.Source.System, b.Source.Table = "", "old" },
			MismatchError{"source table", "nodestore_node", "old", true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := bound
			test.change(&run)
			state, err := openOver(t, document(t), run)
			if test.want == (MismatchError{}) {
				if err != nil || !reflect.DeepEqual(state.Binding, bound) {
					t.Errorf("open = %v, %v", state.Binding, err)
				}
				return
			}
			mismatch, ok := errors.AsType[*MismatchError](err)
			if !ok || *mismatch != test.want {
				t.Errorf("open = %v, want %v", err, &test.want)
			}
		})
	}
}

// A source may move to another server, and back; its region and the target never.
func TestBindingOfASourceThatMoved(t *testing.T) {
	t.Parallel()
	run := bound
	run.Source.System, run.Source.Database, run.Moved = "8", "restored", true
	state, err := openOver(t, document(t), run)
	if want := []node.Origin{bound.Source}; err != nil || state.Binding.Source != run.Source || !reflect.DeepEqual(state.Binding.Earlier, want) {
		t.Errorf("open = %+v, %v", state.Binding, err)
	}
	if again, err := state.Binding.Accept(run); err != nil || len(again.Earlier) != 1 {
		t.Errorf("accept again = %+v, %v", again, err)
	}
	for name, change := range map[string]func(*Binding){
		"region": func(b *Binding) { b.Source.Region = "us" },
		"alias":  func(b *Binding) { b.Target.Alias = "us" },
	} {
		other := run
		change(&other)
		if _, err := openOver(t, document(t), other); err == nil {
			t.Errorf("a move was accepted with another %s", name)
		}
	}
}

// What the first run could not know is learnt from a later one.
func TestBindingIsCompleted(t *testing.T) {
	t.Parallel()
	first := bound
	first.Source.System, first.Source.Region = "", ""
	recorded, err := first.Accept(bound)
	if err != nil || !reflect.DeepEqual(recorded, bound) {
		t.Errorf("accept = %v, %v; want %v", recorded, err, bound)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(document(f))
	f.Add([]byte(`{"format":1,"days":{"2026-01-31":{"done":[{"from":-5,"to":1}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := Decode(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		same, err := Decode(again)
		if err != nil || !reflect.DeepEqual(same, state) {
			t.Fatalf("%+v became %+v, %v", state, same, err)
		}
	})
}
