package main

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// What the sink answers is what the tool takes for stored.
func TestSinkAnswersAsACluster(t *testing.T) {
	for _, n := range []int{1, 2, 1000} {
		items, err := cluster.Items(takenAnswer(n), n)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			if !item.Stored() || item.Result != "created" {
				t.Fatalf("%d documents: %+v", n, item)
			}
		}
		if !json.Valid(takenAnswer(n)) {
			t.Errorf("%d documents: not JSON", n)
		}
	}
}

// A server's CPU time has that of its children, living and ended.
func TestCPUOfAServer(t *testing.T) {
	got, err := parseStat("17 (a b) c) S 4 17 17 0 -1 0 1 2 3 4 100 20 3000 400 20 0 1 0 5")
	if err != nil || got != (processTimes{4, 120, 3400}) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := parseStat("17 (a) S 4"); err == nil {
		t.Error("half a line is read")
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	busy := exec.Command("sh", "-c", `(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); echo done; while :; do :; done`)
	out, err := busy.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Process.Kill(); _ = busy.Wait() }()
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	times, err := timesOf(busy.Process.Pid)
	if err != nil || times.ended == 0 || times.parent != os.Getpid() {
		t.Errorf("%+v %v", times, err)
	}
	all, err := cpuSecondsOf(busy.Process.Pid)
	if err != nil || math.Round(all*ticksPerSecond) < float64(times.ended) {
		t.Errorf("%g seconds with children of %d ticks: %v", all, times.ended, err)
	}
	if _, err := cpuSecondsOf(1 << 30); err == nil {
		t.Error("process " + strconv.Itoa(1<<30) + " is there")
	}
}
