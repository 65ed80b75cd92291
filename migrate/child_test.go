package migrate_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// The exit codes of the tool.
const (
	exitDone        = 0
	exitFailed      = 1
	exitRejected    = 3
	exitHeld        = 5
	exitInterrupted = 130
)

// child is a running process of the tool.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout buffer
	stderr buffer
	ended  chan struct{} // closed when the process is gone
}

// start runs `migrate` with small batches and workers enough to have several
// slices open. Later flags win.
func (w *world) start(flags ...string) *child {
	w.t.Helper()
	args := []string{
		"migrate", "--json", "--source", w.source, "--target", w.target,
		"--alias", w.prefix, "--template", w.prefix, "--index", w.prefix + "-{date}",
		"--checkpoint", w.checkpoint(), "--check", "full",
		"--readers", "2", "--senders", "2", "--bulk-bytes", "64KiB",
	}
	c := &child{t: w.t, cmd: exec.Command(os.Args[0], append(args, flags...)...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), w.environment...)
	c.cmd.Env = append(c.cmd.Env, childVariable+"=1",
		"NODESTORE_REGION=test",
		"NODESTORE_COMPACT=never", // it waits for half a minute
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN="+w.prefix+"-*",
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC=best_compression",
		"SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_SHARDS=1")
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // how it ended is in ProcessState
	}()
	w.t.Cleanup(c.kill)
	return c
}

// migrate runs `migrate` to its end and wants an exit code.
func (w *world) migrate(want int, flags ...string) *child {
	w.t.Helper()
	c := w.start(flags...)
	c.wants(want)
	return c
}

// kill ends the process as the kernel's OOM killer would, and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.ended
}

func (c *child) interrupt() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.t.Fatal(err)
	}
}

// killed waits for the end and says whether it was SIGKILL.
func (c *child) killed() bool {
	<-c.ended
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// wants waits for the end and compares the exit code.
func (c *child) wants(code int) {
	c.t.Helper()
	<-c.ended
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Fatalf("exit code %d, want %d; standard error:\n%s", got, code, c.stderr.String())
	}
}

// summary is the last line of standard output, but for the error of a run that was
// interrupted.
func (c *child) summary() migrate.Summary {
	c.t.Helper()
	<-c.ended
	lines := strings.Split(strings.TrimSpace(c.stdout.String()), "\n")
	if n := len(lines) - 1; strings.HasPrefix(lines[n], `{"type":"error"`) {
		lines = lines[:n]
	}
	var s struct {
		Type string
		migrate.Summary
	}
	if err := json.Unmarshal([]byte(lines[max(len(lines)-1, 0)]), &s); err != nil || s.Type != "summary" {
		c.t.Fatalf("last line of standard output: %q, %v", lines, err)
	}
	return s.Summary
}

// says waits until the tool has written a text to standard error.
func (c *child) says(text string) { c.t.Helper(); c.await(&c.stderr, text) }

// reports waits until the tool has written a text to standard output.
func (c *child) reports(text string) { c.t.Helper(); c.await(&c.stdout, text) }

func (c *child) await(output *buffer, text string) {
	c.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !strings.Contains(output.String(), text) {
		select {
		case <-ticker.C:
		case <-c.ended:
			c.t.Fatalf("it ended and never wrote %q; standard error:\n%s", text, c.stderr.String())
		}
	}
}

// buffer can be read while it is written.
type buffer struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.String()
}
