package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// recorded has the checkpoint in an index.
func (w *world) recorded() *world {
	w.records = "records-" + w.prefix
	w.t.Cleanup(func() { w.request(http.MethodDelete, "/"+w.records, "", nil) })
	return w
}

// onIndex are the flags for a checkpoint in an index.
func (w *world) onIndex(flags ...string) []string {
	return append([]string{"--checkpoint", "opensearch:" + w.records, "--lease", "1s"}, flags...)
}

// whole is where the checkpoint of the migration as a whole is.
func (w *world) whole() onindex.Place {
	return onindex.Place{Records: records.In(w.openTarget(), w.records), Key: w.prefix + "/all"}
}

func (w *world) recordedState() (checkpoint.State, bool) {
	w.t.Helper()
	document, err := onindex.Read(w.t.Context(), w.whole())
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint.State{}, false
	}
	state, decodeErr := checkpoint.Decode(document)
	if err := errors.Join(err, decodeErr); err != nil {
		w.t.Fatal(err)
	}
	return state, true
}

func (w *world) recordedRejected() []byte {
	w.t.Helper()
	state, _ := w.recordedState()
	var list bytes.Buffer
	err := onindex.EachRejected(w.t.Context(), w.whole(), state.Rejected.List, func(lines []byte) error {
		list.Write(lines)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list.Bytes()
}

// shard starts one of n processes, as a pod of an Indexed Job knows itself.
func (w *world) shard(number, of int, flags ...string) *child {
	w.t.Helper()
	inJob := *w
	inJob.environment = append([]string{fmt.Sprintf("JOB_COMPLETION_INDEX=%d", number), fmt.Sprintf("NODESTORE_SHARDS=%d", of)}, w.environment...)
	return inJob.start(w.onIndex(flags...)...)
}

// finisher waits for the end of all shards, and returns one that went on with
// the migration as a whole: it tells of the rejected nodes. A shard that comes
// late finds nothing left to do there.
func (w *world) finisher(shards []*child) *child {
	w.t.Helper()
	var last *child
	for i, c := range shards {
		<-c.ended
		switch c.cmd.ProcessState.ExitCode() {
		case exitRejected:
			last = c
		case exitDone:
		default:
			w.t.Fatalf("shard %d: exit code %d; standard error:\n%s", i, c.cmd.ProcessState.ExitCode(), c.stderr.String())
		}
	}
	if last == nil {
		w.t.Fatal("no shard finished the migration")
	}
	return last
}

func TestShards(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newestPair()).recorded().fill(events(31, 600, 7))
			var shards []*child
			for i := range n {
				shards = append(shards, w.shard(i, n))
			}
			w.wantComplete(w.finisher(shards).summary())
			again := w.migrate(exitRejected, w.onIndex()...)
			if s := again.summary(); s.Run.Nodes != 0 || s.Read != int64(len(w.rows)) {
				t.Errorf("a run afterwards sent %d nodes, and knows of %d", s.Run.Nodes, s.Read)
			}
		})
	}
}

// rounds is how often all processes are killed in one test.
const rounds = 5

// doomed is one of the processes, which is killed at one of its requests.
type doomed struct {
	gate *gate

	mu     sync.Mutex
	victim *child
	at     int // 0: it lives
}

func (d *doomed) watch(r request) passage {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == 0 || r.n < d.at {
		return passage{}
	}
	d.victim.kill()
	return passage{refuse: true}
}

// begin starts it and has it killed after so many requests; 0 lets it live.
func (d *doomed) begin(requests int, start func(target string) *child) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate.mu.Lock()
	d.at = d.gate.seen + requests
	d.gate.mu.Unlock()
	if requests == 0 {
		d.at = 0
	}
	d.victim = start(d.gate.server.URL)
}

// All processes are killed at any of their requests, the finishing one too, and
// started again: the end is that of one process that nobody killed.
func TestKilledShards(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newestPair()).recorded().fill(events(uint64(32+n), 600, 7))
			shards := make([]*doomed, n)
			for i := range shards {
				shards[i] = &doomed{}
				shards[i].gate = newGate(t, w.target, shards[i].watch)
			}
			rng := rand.New(rand.NewPCG(32, uint64(n)))
			killed, finishing := 0, 0
			for round := range rounds + 1 {
				for i, d := range shards {
					requests := 0
					if round < rounds {
						requests = 1 + rng.IntN(50*(round+1))
					}
					d.begin(requests, func(target string) *child { return w.shard(i, n, "--target", target, "--lease", "300ms") })
				}
				for _, d := range shards {
					if d.victim.killed() {
						killed++
					}
				}
				if _, begun := w.recordedState(); begun {
					finishing++
				}
			}
			t.Logf("%d of %d were killed before their end, the whole was begun before the end of %d rounds of %d", killed, rounds*n, finishing, rounds+1)
			var children []*child
			for _, d := range shards {
				children = append(children, d.victim)
			}
			w.wantComplete(w.finisher(children).summary())
		})
	}
}

// What Sentry does between the shards' copies is found by the last one: rows
// that were committed late, rows that were rewritten or deleted.
func TestShardsFollowSentry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).recorded()
	now := time.Now().UTC().Truncate(time.Second)
	mix := synth.Everything()
	for _, kind := range []synth.Kind{synth.Pickle, synth.Empty, synth.CorruptBase64, synth.CorruptZlib} {
		mix[kind] = 0
	}
	w.fill(synth.Options{Seed: 36, Rows: 300, From: now.AddDate(0, 0, -6), Until: now.Add(-time.Second), Mix: mix, Distinct: 40})
	w.shard(0, 3).wants(exitDone)
	w.insert("nodestore_node", renamed("late-", synth.Options{
		Seed: 37, Rows: 30, From: now.Add(-10 * time.Minute), Until: now, Mix: mix, Distinct: 10,
	}))
	w.shard(1, 3).wants(exitDone)
	w.shard(1, 3).wants(exitDone) // a pod that is started again has nothing to do
	for i := range w.rows[:40] {
		row := &w.rows[i*7]
		row.Timestamp = now.Add(time.Duration(i) * time.Millisecond)
		w.exec(fmt.Sprintf(`update nodestore_node set "timestamp" = '%s' where id = '%s'`, row.Timestamp.Format(time.RFC3339Nano), row.ID))
	}
	last := w.shard(2, 3)
	last.wants(exitDone)
	w.wantReadable()
	w.wantRestored()
	s := last.summary()
	if want := s.Fates[node.Stored] + s.Fates[node.AlreadyThere]; want != int64(len(w.rows)) || s.Fates[node.Rejected] != 0 {
		t.Errorf("%d rows, fates %v", len(w.rows), s.Fates)
	}
}

// renamed makes rows whose ids no other seed has.
func renamed(prefix string, o synth.Options) (rows []synth.Row) {
	for row := range synth.Rows(o) {
		row.ID = prefix + row.ID[:min(len(row.ID), 30)]
		rows = append(rows, row)
	}
	return rows
}

func TestDivisionIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).recorded().fill(events(38, 60, 4))
	w.shard(1, 3).wants(exitDone)
	other := w.shard(0, 2)
	other.wants(exitFailed)
	other.says("divided among 3 processes, not 2")
	alone := w.migrate(exitFailed, w.onIndex()...)
	alone.says("shards 0, 2 are not done")
	w.shard(0, 3).wants(exitDone)
	w.wantComplete(w.finisher([]*child{w.shard(2, 3)}).summary())
}

func TestWhatOneBeganIsNotDivided(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).recorded().fill(events(39, 60, 2))
	w.wantComplete(w.migrate(exitRejected, w.onIndex()...).summary())
	late := w.shard(0, 2)
	late.wants(exitFailed)
	late.says("begun by a process on its own")
}

func TestRecordsAreNeverBehindTheAlias(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(40, 10, 1))
	for _, name := range []string{w.prefix, w.prefix + "-checkpoint", w.prefix + "-2025-01-01"} {
		c := w.migrate(exitFailed, "--checkpoint", "opensearch:"+name)
		c.says("would be Sentry's")
	}
}

func TestSecondHolderOfAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).recorded().fill(events(41, 300, 4))
	hold := make(chan struct{})
	gate := newGate(t, w.target, func(r request) passage {
		if r.bulk() && !strings.Contains(r.URL.Path, w.records) {
			<-hold
		}
		return passage{}
	})
	first := w.start(w.onIndex("--target", gate.server.URL, "--lease", "4s")...)
	first.reports(string(migrate.DayStarted))
	second := w.migrate(exitHeld, w.onIndex("--lease", "4s")...)
	second.says(fmt.Sprintf("process %d on ", first.cmd.Process.Pid))
	close(hold)
	first.wants(exitRejected)
	w.wantComplete(first.summary())
}

// A holder that slept through the loss of its checkpoint changes nothing in it
// when it wakes, and stops.
func TestSleepingHolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).recorded().fill(events(42, 300, 4))
	slow := faulty.NewHTTPProxy(t, hostOf(t, w.target), func(*http.Request, int) faulty.Fault {
		return faulty.Fault{Delay: 30 * time.Millisecond}
	})
	sleeper := w.start(w.onIndex("--target", slow.URL())...)
	sleeper.reports(string(migrate.DayStarted))
	sleeper.signal(syscall.SIGSTOP)
	w.wantComplete(w.migrate(exitRejected, w.onIndex()...).summary())
	before := w.stateRecord()
	sleeper.signal(syscall.SIGCONT)
	sleeper.wants(exitHeld)
	if after := w.stateRecord(); after != before {
		t.Errorf("the checkpoint was\n%s\nand is\n%s", before, after)
	}
	w.wantReadable()
	w.wantRestored()
}

// stateRecord is the whole answer about the checkpoint's record, versions and all.
func (w *world) stateRecord() string {
	w.t.Helper()
	var record map[string]any
	w.must(http.MethodGet, "/"+w.records+"/_doc/"+w.prefix+"%2Fall%2Fstate", "", &record)
	return fmt.Sprint(record)
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}
