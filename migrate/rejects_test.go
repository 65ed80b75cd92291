package migrate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// TestRejectedPayloadsSurviveCrashes asks for the payloads in runs that are
// killed, and finds each in the file once.
func TestRejectedPayloadsSurviveCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair())
	o := events(40, 300, 2)
	o.Mix[synth.Pickle], o.Mix[synth.CorruptBase64], o.Mix[synth.CorruptZlib] = 200, 200, 200
	w.fill(o)
	e := newExecutioner(w)
	for _, at := range []int{18, 22, 26, 14} {
		if !e.run(at, at%4 == 2, "--rejected-payloads").killed() {
			t.Fatalf("the run ended before its request %d", at)
		}
		e.inspect()
		w.leaveBehind()
	}
	for range 2 { // the second has nothing to write over what was left behind
		w.wantComplete(w.migrate(exitRejected, "--rejected-payloads").summary())
		w.wantPayloads()
		w.leaveBehind()
	}
}

// wantPayloads compares the file of payloads with the rows that nobody can read.
func (w *world) wantPayloads() {
	w.t.Helper()
	payloads := w.rejectedPayloads()
	for _, row := range w.rows {
		data, kept := payloads[row.ID]
		if kept != (row.Inner == nil) || kept && data != row.Data {
			w.t.Errorf("node %q of kind %s: payload kept %v, %d of %d bytes", row.ID, row.Kind, kept, len(data), len(row.Data))
		}
	}
}

// leaveBehind makes the files look as if the run had been killed after it wrote
// to them and before the checkpoint knew of it, an instant that is hard to hit:
// one list has a line more, the other a part of one.
func (w *world) leaveBehind() {
	w.t.Helper()
	for path, more := range map[string]string{
		w.rejectedFile(): fmt.Sprintf(`{"id":%q,"timestamp":"","reason":"empty"}`+"\n", w.rows[0].ID),
		w.payloadFile():  "\x28\xb5\x2f\xfd\x04",
	} {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		_, err = file.WriteString(more)
		if err = errors.Join(err, file.Close()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) payloadFile() string {
	return filepath.Join(w.dir, "test.rejected-payloads.jsonl.zst")
}

// rejectedPayloads reads the file of payloads. It is for the owner's eyes only.
func (w *world) rejectedPayloads() map[string]string {
	w.t.Helper()
	info, err := os.Stat(w.payloadFile())
	if err != nil || info.Mode().Perm() != 0o600 {
		w.t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	compressed, err := os.ReadFile(w.payloadFile())
	if err != nil {
		w.t.Fatal(err)
	}
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer decoder.Close()
	lines, err := decoder.DecodeAll(compressed, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	found := make(map[string]string)
	for line := range bytes.Lines(lines) {
		var payload struct {
			ID   string
			Data []byte
		}
		if err := json.Unmarshal(line, &payload); err != nil {
			w.t.Fatal(err)
		}
		if _, twice := found[payload.ID]; twice {
			w.t.Errorf("the payload of %q is kept twice", payload.ID)
		}
		found[payload.ID] = string(payload.Data)
	}
	return found
}

// TestNoPayloadUnlessAskedFor looks for a payload wherever the tool writes.
func TestNoPayloadUnlessAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(41, 60, 1))
	const marker = "SecretSecretSecretSecretSecretSecretSecretSecret"
	w.exec(`insert into nodestore_node values ('secret', '` + marker + `', '2025-03-01 12:00+00')`)
	c := w.migrate(exitRejected)
	if _, err := os.Stat(w.payloadFile()); !os.IsNotExist(err) {
		t.Errorf("the file of payloads is there: %v", err)
	}
	if w.rejected()["secret"] == "" {
		t.Error("the node is not listed")
	}
	written := c.stdout.String() + c.stderr.String()
	for _, file := range []string{w.checkpoint(), w.rejectedFile()} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		written += string(content)
	}
	if strings.Contains(written, marker[:16]) {
		t.Error("a payload was written")
	}
}

func TestRowsThatBelongToNoDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(42, 60, 1))
	w.exec(`insert into nodestore_node values ('late', 'x', 'infinity'), ('early', 'x', '-infinity'), ('far', 'x', '12000-01-01 00:00+00')`)
	for run := range 2 {
		s := w.migrate(exitRejected).summary()
		list := w.rejected()
		for _, id := range []string{"late", "early", "far"} {
			if list[id] != migrate.ReasonTimestamp {
				t.Errorf("run %d: %q is rejected as %q", run+1, id, list[id])
			}
		}
		if s.Read != int64(len(w.rows))+3 || s.Fates[node.Rejected] != int64(len(list)) {
			t.Errorf("run %d: %d nodes read, %d rejected, %d listed", run+1, s.Read, s.Fates[node.Rejected], len(list))
		}
	}
	w.wantReadable()
}

func TestHugeRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(43, 100, 1))
	w.insert("nodestore_node", []synth.Row{largeRow(0, 20<<20)})
	w.wantComplete(w.migrate(exitRejected).summary())
}
