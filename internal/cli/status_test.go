package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// recorded writes a checkpoint with a day in each state and keeps its lock, as
// a run does.
func recorded(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.checkpoint")
	medium, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	held, err := checkpoint.Open(t.Context(), medium, checkpoint.Binding{
		Source: node.Origin{Database: "sentry", Table: "public.nodestore_node", Region: "us"},
		Target: checkpoint.Target{Cluster: "c1", Alias: "sentry", Index: "sentry-{date}"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := held.Update(t.Context(), fillStates); err != nil {
		t.Fatal(err)
	}
	return path
}

// lastDay is the day of the copy's end in fillStates; Sentry may still write to it.
func lastDay() node.Day { return node.DayOf(time.Now().UnixMicro()) }

func fillStates(state *checkpoint.State) {
	last := lastDay()
	state.Started = time.Now().Add(-100 * time.Second)
	state.CopyUntil = last.Start() + 1000
	day := func(before node.Day, bytes, planned int64) *checkpoint.Day {
		d := state.Day(last - before)
		d.Index, d.Bytes, d.Planned = "sentry-"+(last-before).String(), bytes, planned
		d.Fates[node.Stored] = bytes / 1e6
		return d
	}
	whole := func(d *checkpoint.Day, before node.Day) *checkpoint.Day {
		d.Done = d.Done.Add(checkpoint.Range{From: (last - before).Start(), To: min((last - before).End(), state.CopyUntil)})
		return d
	}
	at := time.Now().UTC()
	whole(day(0, 1e6, 1e6), 0)
	whole(day(1, 5e6, 5e6), 1).Sealed = at
	rejected := whole(day(2, 5e6, 5e6), 2)
	rejected.Sealed, rejected.Fates[node.Rejected] = at, 7
	state.Verify = &checkpoint.Verify{Days: map[string]*checkpoint.VerifiedDay{(last - 2).String(): {Result: json.RawMessage(`{}`)}}}
	half := day(3, 2e6, 10e6)
	half.Done = half.Done.Add(checkpoint.Range{From: (last - 3).Start(), To: (last - 3).Start() + 1e9})
	day(4, 0, 30e6)
	whole(day(5, 1e6, 1e6), 5).Dropped = at
	day(6, 0, 0).Fates[node.OutOfRetention] = 9
	day(7, 0, 2e6).Index = "" // its first slices are open
	state.Borrowed["sentry-"+(last-7).String()] = checkpoint.Borrowed{At: at, Settings: map[string]*string{"index.refresh_interval": nil}}
	state.Borrowed["sentry-"+(last-3).String()] = checkpoint.Borrowed{At: at, Settings: map[string]*string{"index.refresh_interval": nil, "index.number_of_replicas": nil}}
}

func runStatus(t *testing.T, command statusCommand) string {
	t.Helper()
	var out bytes.Buffer
	p := &process{stdout: &out, stderr: &out, getenv: func(string) string { return "" }, stop: make(chan struct{})}
	if err := command.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStatusOfEachState(t *testing.T) {
	t.Parallel()
	var got status
	if err := json.Unmarshal([]byte(runStatus(t, statusCommand{recordFlag: recordFlag{recorded(t)}, objectFlag: objectFlag{true}})), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{dayCopying, dayOld, dayDropped, dayPlanned, dayCopying, dayVerified, daySealed, dayCaughtUp}
	counts := make(map[string]int)
	for i, state := range want {
		counts[state]++
		if got.Days[i].State != state {
			t.Errorf("%s is %s, want %s", got.Days[i].Day, got.Days[i].State, state)
		}
	}
	if !maps.Equal(got.States, counts) {
		t.Errorf("%v, want %v", got.States, counts)
	}
	if got.RemainingBytes != 40e6 || got.Bytes != 14e6 || !got.Active || got.Fates[node.Rejected] != 7 {
		t.Errorf("%+v", got)
	}
	// 14 MB in 100 seconds, so 40 MB take about 286.
	if got.SecondsLeft < 265 || got.SecondsLeft > 305 {
		t.Errorf("%.0f seconds left", got.SecondsLeft)
	}
	if len(got.Borrowed) != 2 || len(got.Borrowed[1].Settings) != 2 {
		t.Errorf("borrowed %+v", got.Borrowed)
	}
	if len(got.Waiting) != 1 || !strings.Contains(got.Waiting[0], "Sentry may write to it until "+(lastDay()+1).String()+" 00:15 UTC") {
		t.Errorf("waiting for %q", got.Waiting)
	}
}

func TestStatusForAPerson(t *testing.T) {
	t.Parallel()
	text := runStatus(t, statusCommand{recordFlag: recordFlag{recorded(t)}})
	for _, want := range []string{
		"from     region us, database sentry, table public.nodestore_node\n", "last saved", ": a run is under way",
		"p planned 1, c copying 2, u caught up 1, S sealed 1, V verified 1, x dropped 1, o out of retention 1\n",
		"  copying                     2 nodes     2.0 MB of about 10.0 MB\n", ", 7 rejected\n", "7 rejected on 1 day\n",
		"remains  about 40.0 MB at 1", "waiting  " + lastDay().String(),
		"NOT RESTORED  sentry-" + (lastDay() - 3).String() + ": index.number_of_replicas, index.refresh_interval, since ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("colours without a terminal:\n%q", text)
	}
}

// Settings that are not restored are red where there are colours, and so are
// days with rejected nodes.
func TestStatusInRed(t *testing.T) {
	t.Parallel()
	state, err := checkpoint.Read(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	text := statusText(newStatus(&state, time.Now()), paint{terminal: true, colour: true})
	for _, want := range []string{"\x1b[31mNOT RESTORED", "\x1b[31mV\x1b[0m", "\x1b[31mNo run is under way"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%q", want, text)
		}
	}
}

// A day that is complete but was never sealed is waited for no longer.
func TestStatusAfterTheDay(t *testing.T) {
	t.Parallel()
	state, err := checkpoint.Read(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	if s := newStatus(&state, time.Now().Add(48*time.Hour)); len(s.Waiting) != 0 {
		t.Errorf("waiting for %q", s.Waiting)
	}
}

func TestStatusWithoutACheckpoint(t *testing.T) {
	t.Parallel()
	command := statusCommand{recordFlag: recordFlag{filepath.Join(t.TempDir(), "none")}}
	err := command.Run(t.Context(), &process{getenv: func(string) string { return "" }, stop: make(chan struct{})})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// Watching prints until it is interrupted, which is its regular end.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	stop, out := make(chan struct{}), &stopper{}
	out.stop = stop
	command := statusCommand{recordFlag: recordFlag{recorded(t)}, Watch: true, objectFlag: objectFlag{true}}
	err := command.Run(context.WithoutCancel(t.Context()), &process{stdout: out, getenv: func(string) string { return "" }, stop: stop})
	if err != nil || out.prints != 2 {
		t.Errorf("%d prints, %v", out.prints, err)
	}
}

// TestStatusWatchOutlivesWhatGoesAway: the checkpoint is away for one look.
func TestStatusWatchOutlivesWhatGoesAway(t *testing.T) {
	t.Parallel()
	path, stop, prints := recorded(t), make(chan struct{}), 0
	rename := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Error(err)
		}
	}
	out := writer(func([]byte) {
		if prints++; prints == 1 {
			rename(path, path+".away")
			return
		}
		close(stop)
	})
	missed := 0
	said := writer(func([]byte) {
		missed++
		rename(path+".away", path)
	})
	command := statusCommand{recordFlag: recordFlag{path}, Watch: true, objectFlag: objectFlag{true}}
	err := command.Run(context.WithoutCancel(t.Context()), &process{stdout: out, stderr: said, getenv: func(string) string { return "" }, stop: stop})
	if err != nil || prints != 2 || missed != 1 {
		t.Errorf("%d prints, %d missed, %v", prints, missed, err)
	}
}

// writer is called at each write.
type writer func(text []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// stopper interrupts after the second print.
type stopper struct {
	prints int
	stop   chan struct{}
}

func (s *stopper) Write(p []byte) (int, error) {
	if s.prints++; s.prints == 2 {
		close(s.stop)
	}
	return len(p), nil
}
