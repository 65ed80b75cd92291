package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// childVariable makes this program the tool itself: a run that is killed has to
// be a process of its own.
const childVariable = "NODESTORE_CHAOS_CHILD"

// overlap is what the tool is told with --overlap: the campaign has not got a
// quarter of an hour for its late transactions.
const overlap = 20 * time.Second

// summary is the last line that the tool prints.
type summary struct {
	Type    string
	Read    int64 `json:"read_nodes"`
	Fates   map[string]int64
	Lost    []struct{ Day string } `json:"lost_days"`
	Missing int64                  `json:"missing_rows"`
	Doubled int64                  `json:"doubled_nodes"`
	Safe    bool                   `json:"safe_to_drop"`
	Because []string
}

// tool is one run of it.
type tool struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer  // to be read when it has ended
	ended          chan struct{} // closed when the process is gone
}

func startTool(dir string, args []string) (*tool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := &tool{cmd: exec.Command(self, args...), ended: make(chan struct{})}
	t.cmd.Dir = dir
	t.cmd.Env = append(os.Environ(), childVariable+"=1", "NODESTORE_REGION=chaos")
	t.cmd.Stdout, t.cmd.Stderr = &t.stdout, &t.stderr
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(t.ended)
		_ = t.cmd.Wait() // how it ended is in ProcessState
	}()
	return t, nil
}

func (t *tool) running() bool {
	select {
	case <-t.ended:
		return false
	default:
		return true
	}
}

// wait is false if it did not end in time.
func (t *tool) wait(patience time.Duration) bool {
	select {
	case <-t.ended:
		return true
	case <-time.After(patience):
		return false
	}
}

func (t *tool) kill() {
	_ = t.cmd.Process.Kill() // it may have ended by itself
	<-t.ended
}

// killed is the exit code of a run that a signal ended.
const killed = -1

func (t *tool) code() int { return t.cmd.ProcessState.ExitCode() }

func (t *tool) signal(s syscall.Signal) { _ = t.cmd.Process.Signal(s) }

func (t *tool) summary() (s summary) {
	lines := strings.Split(strings.TrimSpace(t.stdout.String()), "\n")
	_ = json.Unmarshal([]byte(lines[len(lines)-1]), &s) // without one, its type is empty
	return s
}

// said is what an operator reads first of an error, without what differs from
// one run to the next.
func (t *tool) said() string {
	for line := range strings.Lines(t.stderr.String()) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

var (
	number = regexp.MustCompile(`[0-9]+`)
	name   = regexp.MustCompile(`[0-9a-f]{16,}|chaos[0-9]+`)
)

func general(message string) string {
	return number.ReplaceAllString(name.ReplaceAllString(message, "…"), "N")
}

// crashed reports whether the Go runtime ended it.
func (t *tool) crashed() bool {
	said := t.stderr.String()
	return t.code() == 2 || strings.Contains(said, "panic:") || strings.Contains(said, "fatal error:") || strings.Contains(said, "DATA RACE")
}

// arguments are those of a verb, as an operator would give them again and again.
func arguments(s *sentry, dir, verb string, more ...string) []string {
	args := []string{
		verb, "--json", "--quiet", "--source", s.proxied(s.database), "--target", s.http.server.URL,
		"--alias", s.alias, "--template", s.alias, "--index", s.alias + "-{date}", "--checkpoint", filepath.Join(dir, "checkpoint"),
	}
	if verb == "migrate" {
		args = append(args, "--check", "full", "--readers", "2", "--senders", "2", "--bulk-bytes", "64KiB", "--overlap", overlap.String(), "--compact", s.compact)
	}
	return append(args, more...)
}
