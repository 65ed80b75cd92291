package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ticksPerSecond is USER_HZ, which is 100 wherever Linux runs.
const ticksPerSecond = 100

// processTimes are a process's parent, and its CPU time in ticks: its own, and that of
// children that have ended and were waited for.
type processTimes struct {
	parent     int
	own, ended int64
}

// parseStat reads /proc/PID/stat. The name in brackets may hold anything.
func parseStat(text string) (t processTimes, err error) {
	end := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	if end < 0 || len(fields) < 15 {
		return t, fmt.Errorf("%d fields in %q", len(fields), text)
	}
	var ticks [4]int64 // utime, stime, cutime, cstime: the fields 14 to 17 of proc(5)
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return t, err
		}
	}
	t.parent, err = strconv.Atoi(fields[1])
	return processTimes{t.parent, ticks[0] + ticks[1], ticks[2] + ticks[3]}, err
}

func timesOf(pid int) (processTimes, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processTimes{}, err
	}
	return parseStat(string(text))
}

// cpuSecondsOf is what a server has used since it began, with its children, living and
// ended. When one of them ends meanwhile it is looked again, so that each is counted once.
func cpuSecondsOf(pid int) (float64, error) {
	for {
		before, err := timesOf(pid)
		if err != nil {
			return 0, err
		}
		var ticks int64
		for _, t := range childrenOf(pid) {
			ticks += t.own + t.ended
		}
		if after, err := timesOf(pid); err != nil || after.ended == before.ended {
			return float64(ticks+after.own+after.ended) / ticksPerSecond, err
		}
	}
}

// childrenOf are the living children of a process, by their ids.
func childrenOf(pid int) map[int]processTimes {
	children := make(map[int]processTimes)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // errs on a malformed pattern only
	for _, name := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue // not a process
		}
		if t, err := timesOf(child); err == nil && t.parent == pid { // else it has just ended
			children[child] = t
		}
	}
	return children
}

// watched adds what the servers that were started here use meanwhile.
func (b *bed) watched(measure func(context.Context) (sample, error)) func(context.Context) (sample, error) {
	if b.postgresPID == 0 || b.openSearchPID == 0 {
		return measure
	}
	look := func() (postgres, openSearch float64, err error) {
		if postgres, err = cpuSecondsOf(b.postgresPID); err == nil {
			openSearch, err = cpuSecondsOf(b.openSearchPID)
		}
		return postgres, openSearch, err
	}
	return func(ctx context.Context) (sample, error) {
		postgres, openSearch, err := look()
		if err != nil {
			return measure(ctx) // not Linux
		}
		s, err := measure(ctx)
		if err != nil {
			return s, err
		}
		postgresAfter, openSearchAfter, err := look()
		s.PostgresCPU, s.OpenSearchCPU = postgresAfter-postgres, openSearchAfter-openSearch
		return s, err
	}
}

// pin ties all threads of processes, and what they start, to some cores, such as 0 or 0-3.
func pin(ctx context.Context, cores string, pids ...int) error {
	for _, pid := range pids {
		output, err := exec.CommandContext(ctx, "taskset", "--all-tasks", "--cpu-list", "--pid", cores, strconv.Itoa(pid)).CombinedOutput()
		if _, ended := timesOf(pid); err != nil && ended == nil {
			return fmt.Errorf("tie process %d to cores %s: %w: %s", pid, cores, err, output)
		}
	}
	return nil
}
