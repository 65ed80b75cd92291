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

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// tool runs `migrate` with its default settings, and args, from an empty
// checkpoint to the end. The time is that of the whole process.
func (b *bed) tool(ctx context.Context, args ...string) (sample, error) {
	checkpoint, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		return sample{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.binary(), append([]string{
		"migrate", "--json", "--quiet", "--source", b.source, "--table", table, "--target", b.target,
		"--region", "bench", "--alias", alias, "--template", alias, "--index", alias + "-{date}", "--checkpoint", filepath.Join(checkpoint, "bench.checkpoint"),
	}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = os.Environ()
	for _, name := range []string{"INDEX_PATTERN", "INDEX_CODEC", "INDEX_PREFIX"} {
		name = "SENTRY_NODESTORE_OPENSEARCH_" + name
		cmd.Env = append(cmd.Env, name+"="+setting(name))
	}
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
	s.bytes, err = b.copied(stdout.Bytes())
	return s, err
}

// copied returns the bytes of data of a run whose every node was stored.
func (b *bed) copied(stdout []byte) (int64, error) {
	lines := bytes.Split(bytes.TrimSpace(stdout), []byte("\n"))
	var summary migrate.Summary
	if err := json.Unmarshal(lines[len(lines)-1], &summary); err != nil {
		return 0, fmt.Errorf("read the tool's summary: %w", err)
	}
	if summary.Read == 0 || summary.Fates[node.Stored] != summary.Read || summary.Short > 0 {
		return 0, fmt.Errorf("the tool's summary: not every node was stored: %s", lines[len(lines)-1])
	}
	return summary.Bytes, nil
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
