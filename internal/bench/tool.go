package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// job is one migration: a table and a checkpoint.
type job struct {
	*bed
	table, checkpoint string
}

// newJob begins a migration with an empty checkpoint.
func (b *bed) newJob(table string) (*job, error) {
	folder, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	return &job{b, table, filepath.Join(folder, "bench.checkpoint")}, nil
}

// copy runs `migrate`, of which every node must be stored.
func (j *job) copy(ctx context.Context, args ...string) (sample, error) {
	var got migrate.Summary
	s, err := j.tool(ctx, &got, append([]string{"migrate", "--target", j.target, "--compact", "never"}, args...)...)
	if err != nil {
		return sample{}, err
	}
	if got.Read == 0 || got.Fates[node.Stored] != got.Read || len(got.Lost) > 0 || got.Missing > 0 {
		return sample{}, fmt.Errorf("the tool's summary: not every node was stored: %+v", got)
	}
	s.bytes, s.nodes = got.Bytes, got.Read
	return s, nil
}

// verify runs `verify`, which must find as many nodes as the table has rows and
// nothing else.
func (j *job) verify(ctx context.Context, level string, filled synth.Count) (sample, error) {
	var got struct {
		Nodes    int64                 `json:"nodes"`
		Findings verify.FindingsReport `json:"findings"`
	}
	s, err := j.tool(ctx, &got, "verify", "--target", j.target, "--level", level)
	if err != nil {
		return sample{}, err
	}
	if got.Nodes != filled.Rows || got.Findings.Total > 0 {
		return sample{}, fmt.Errorf("the tool's summary: %d nodes and %d findings, want %d nodes and no finding", got.Nodes, got.Findings.Total, filled.Rows)
	}
	s.bytes, s.nodes = filled.Bytes, filled.Rows
	return s, nil
}

// tool runs a verb with default settings and args, and decodes its summary.
// The time is that of the whole process.
func (j *job) tool(ctx context.Context, summary any, args ...string) (sample, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, j.binary(), j.arguments(args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = environment()
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, fmt.Errorf("start the tool: %w", err)
	}
	peak, err := wait(cmd)
	s := sample{Seconds: time.Since(started).Seconds(), PeakBytes: peak}
	if err != nil {
		return sample{}, fmt.Errorf("run the tool: %w: %s", err, stderr.Bytes())
	}
	s.CPUSeconds = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], summary); err != nil {
		return sample{}, fmt.Errorf("read the tool's summary: %w", err)
	}
	return s, nil
}

// arguments are those of a verb, and all that it has to know of both sides.
func (j *job) arguments(args ...string) []string {
	if args[0] != "plan" { // which has no progress to show
		args = append(args, "--quiet")
	}
	return append(args, "--json", "--source", j.source, "--table", j.table,
		"--region", "bench", "--alias", alias, "--template", alias, "--index", alias+"-{date}", "--checkpoint", j.checkpoint)
}

// environment is this process's, and that of the backend.
func environment() []string {
	list := os.Environ()
	for _, name := range []string{"INDEX_PATTERN", "INDEX_CODEC", "INDEX_PREFIX"} {
		name = "SENTRY_NODESTORE_OPENSEARCH_" + name
		list = append(list, name+"="+setting(name))
	}
	return list
}

// wait waits for the process and returns the most memory that it had resident,
// in bytes. Linux's rusage cannot be taken for that: it begins with what this
// process held when it started the other.
func wait(cmd *exec.Cmd) (peak int64, err error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err = <-ended:
			if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && runtime.GOOS != "linux" {
				peak = usage.Maxrss
			}
			return peak, err
		case <-ticker.C:
			peak = max(peak, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is VmHWM, 0 when there is none to read: the process has just ended.
func highWater(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	kibibytes, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return 0
	}
	return kibibytes << 10
}
