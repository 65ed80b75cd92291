package migrate_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// digestOf computes a digest from the documents of a day's index alone.
func (w *world) digestOf(day node.Day) (d node.Digest) {
	w.t.Helper()
	var found struct {
		Hits struct {
			Hits []struct {
				ID     string `json:"_id"`
				Fields struct {
					Data      []string
					Timestamp []json.Number
				}
			}
		}
	}
	index := w.prefix + "-" + day.String()
	w.must(http.MethodPost, "/"+index+"/_refresh", "", new(any))
	w.must(http.MethodPost, "/"+index+"/_search", `{"size": 10000, "_source": false, "stored_fields": ["data"],
		"docvalue_fields": [{"field": "timestamp", "format": "epoch_millis"}]}`, &found)
	for _, h := range found.Hits.Hits {
		millis, err := h.Fields.Timestamp[0].Int64()
		if err != nil {
			w.t.Fatal(err)
		}
		d.Add(node.DigestOf([]byte(h.ID), millis, []byte(h.Fields.Data[0])))
	}
	return d
}

// wantDigests wants the checkpoint to have the digest of each day's documents, but for
// days of which it must have none.
func (w *world) wantDigests(unknown ...node.Day) {
	w.t.Helper()
	state, _ := w.state()
	if len(state.Days) == 0 {
		w.t.Fatal("no day")
	}
	for name, day := range state.Days {
		n, err := node.ParseDay(name)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(unknown) > 0 && unknown[0] == n {
			if day.Digest != nil {
				w.t.Errorf("day %s: its digest cannot be known", name)
			}
			continue
		}
		want := w.digestOf(n)
		if day.Digest == nil || *day.Digest != want || want.Nodes == 0 {
			w.t.Errorf("day %s: %+v, want %+v", name, day.Digest, want)
		}
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(330, 200, 3))
	w.migrate(exitRejected)
	w.wantDigests()

	t.Log("a row that was committed late, in the past") // it is found by the comparison
	late := w.rows[0]
	late.ID = "00000000000000000000000000000001"
	w.insert("nodestore_node", append(w.rows[:0:0], late))
	w.migrate(exitRejected)
	w.wantDigests()

	t.Log("a row that was rewritten: its stale copy goes")
	w.exec(`update nodestore_node set "timestamp" = "timestamp" + interval '1 day' where id = '` + late.ID + `'`)
	w.migrate(exitRejected)
	w.wantDigests(dayOf(late))
}

// TestDigestsOfAKilledRun has parts of a slice be there already.
func TestDigestsOfAKilledRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(331, 300, 2))
	bulks, started := 0, make(chan struct{})
	var victim *child
	gate := newGate(t, w.target, func(r request) passage {
		if !r.bulk() {
			return passage{}
		}
		if bulks++; bulks < 5 {
			return passage{}
		}
		<-started
		return passage{acted: victim.kill}
	})
	victim = w.start("--target", gate.server.URL, "--senders", "1")
	close(started)
	if !victim.killed() {
		t.Fatal("it was not killed")
	}
	w.migrate(exitDone)
	w.wantDigests()
}

// TestDigestScript runs the script of docs/verify.md.
func TestDigestScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(clean(332, 1500, 1))
	w.migrate(exitDone)
	page, err := os.ReadFile("../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(page), "```python\n")
	script, _, _ = strings.Cut(script, "```")
	path := filepath.Join(t.TempDir(), "digest.py")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), "python3", path, w.target, w.index(w.rows[0])).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	state, _ := w.state()
	d := state.Days[dayOf(w.rows[0]).String()].Digest
	if want := "1500 " + d.IDs.String() + " " + d.Payloads.String(); strings.TrimSpace(string(said)) != want {
		t.Errorf("the script says %s, the checkpoint has %s", said, want)
	}
}
