package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

func TestParseStat(t *testing.T) {
	for _, tt := range []struct {
		text string
		want processTimes
		ok   bool
	}{
		{"17 (postgres) S 4 17 17 0 -1 0 1 2 3 4 100 20 3000 400 20 0 1 0 5", processTimes{4, 120, 3400}, true},
		{"17 (a b) c) 7) S 4 17 17 0 -1 0 1 2 3 4 100 20 3000 400 20 0 1 0 5", processTimes{4, 120, 3400}, true},
		{"17 (postgres) S 4 17 17 0 -1 0 1 2 3 4 100 20 3000", processTimes{}, false},
		{"17 (postgres) S 4 17 17 0 -1 0 1 2 3 4 100 20 x 400 20 0 1 0 5", processTimes{}, false},
		{"17 (postgres) S y 17 17 0 -1 0 1 2 3 4 100 20 3000 400 20 0 1 0 5", processTimes{}, false},
		{"17 postgres S 4 17 17 0 -1 0 1 2 3 4 100 20 3000 400 20 0 1 0 5", processTimes{}, false},
		{"", processTimes{}, false},
	} {
		if got, err := parseStat(tt.text); (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
}

// TestCPUOfAServer has a process with a child that works: its CPU time counts while the
// child lives, and once after it has ended.
func TestCPUOfAServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	server := exec.CommandContext(t.Context(), "sh", "-c",
		`(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo worked; read line); echo ended; read line`)
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = server.Wait() }()
	said, pid := bufio.NewScanner(out), server.Process.Pid
	look := func(want string) (own processTimes, all float64) {
		if !said.Scan() || said.Text() != want {
			t.Fatalf("it says %q, want %q", said.Text(), want)
		}
		own, err := timesOf(pid)
		if err != nil {
			t.Fatal(err)
		}
		if all, err = cpuSecondsOf(pid); err != nil {
			t.Fatal(err)
		}
		return own, all
	}
	own, living := look("worked")
	if children := childrenOf(pid); len(children) != 1 || own.parent != os.Getpid() {
		t.Errorf("children %v of %+v", children, own)
	}
	const least = 0.05 // seconds; what 300,000 rounds of a shell take is some tenths
	if used := float64(own.own+own.ended) / ticksPerSecond; living < used+least {
		t.Errorf("%g s with the living child, %g s without", living, used)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	own, ended := look("ended")
	if float64(own.ended)/ticksPerSecond < least || ended < living || ended > living+least {
		t.Errorf("%g s with the child that lived, %g s when it has ended (%+v)", living, ended, own)
	}
	if _, err := cpuSecondsOf(1 << 30); err == nil {
		t.Error("a process that is not there has used CPU")
	}
}

func TestPin(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.NumCPU() == 1 {
		t.Skip("there is nothing to choose from")
	}
	server := exec.CommandContext(t.Context(), "sh", "-c", "read line")
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for _, cores := range []string{"1", "0-1"} {
		if err := pin(t.Context(), cores, server.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if got := allowedCores(t, server.Process.Pid); got != cores {
			t.Errorf("it may run on cores %q, want %q", got, cores)
		}
	}
	if err := pin(t.Context(), "9999", server.Process.Pid); err == nil {
		t.Error("a core that is not there was taken")
	}
	_ = in.Close()
	_ = server.Wait()
	if err := pin(t.Context(), "1", server.Process.Pid); err != nil {
		t.Errorf("of a process that has ended: %v", err)
	}
}
