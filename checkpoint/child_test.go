package checkpoint_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// The environment that makes the test binary a migration of its own: one that
// updates the checkpoint in its working directory until it is killed or fails.
const (
	childName     = "CHECKPOINT_TEST_FILE"      // the checkpoint, relative to the working directory
	childMaxBytes = "CHECKPOINT_TEST_MAX_BYTES" // no file may be longer, as on a full disk
	childUnpriv   = "CHECKPOINT_TEST_UNPRIVILEGED"
)

// childUpdaters is how many slices the child has open at a time.
const childUpdaters = 4

// nobody owns no file.
const nobody = 65534

var binding = checkpoint.Binding{
	Source: node.Origin{System: "7412", Database: "sentry", Table: "nodestore_node", Region: "de"},
	Target: checkpoint.Target{Cluster: "kZ1c", Alias: "sentry", Index: "sentry-{date}"},
}

func TestMain(m *testing.M) {
	name := os.Getenv(childName)
	if name == "" {
		goleak.VerifyTestMain(m)
		return
	}
	err := runChild(name)
	fmt.Printf("error %v\nhint %s\n", err, hint.Of(err))
	os.Exit(1)
}

func runChild(name string) error {
	if err := limitChild(); err != nil {
		return err
	}
	c, err := openFile(context.Background(), name)
	if err != nil {
		return err
	}
	var next int64
	c.View(func(s *checkpoint.State) {
		if done := s.Day(0).Done; len(done) > 0 {
			next = done[len(done)-1].To
		}
	})
	failures := make([]error, childUpdaters)
	var updaters sync.WaitGroup
	for i := range int64(childUpdaters) {
		updaters.Go(func() { failures[i] = updateForever(c, next+i) })
	}
	updaters.Wait()
	for _, err := range failures[1:] {
		if err.Error() != failures[0].Error() {
			return fmt.Errorf("updaters failed differently: %w, %w", failures[0], err)
		}
	}
	return failures[0]
}

func limitChild() error {
	if text := os.Getenv(childMaxBytes); text != "" {
		limit, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return err
		}
		// Ignored, the signal becomes the write's error EFBIG.
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	if os.Getenv(childUnpriv) != "" && os.Geteuid() == 0 {
		return syscall.Setuid(nobody)
	}
	return nil
}

// updateForever marks slices done and acknowledges each on standard output.
// The slices do not touch, so that the document grows.
func updateForever(c *checkpoint.Checkpoint, number int64) error {
	for ; ; number += childUpdaters {
		err := c.Update(context.Background(), func(s *checkpoint.State) {
			day := s.Day(0)
			day.Done = day.Done.Add(slice(number))
			day.Fates[node.Stored]++
		})
		if err != nil {
			return err
		}
		fmt.Printf("done %d\n", number)
	}
}

func slice(number int64) checkpoint.Range {
	return checkpoint.Range{From: 2 * number, To: 2*number + 1}
}

// child is a running child and what it said so far.
type child struct {
	command *exec.Cmd
	lines   *bufio.Scanner
	done    []int64 // slices that it acknowledged
	failure string
	hint    string
}

func startChild(t *testing.T, path string, env ...string) *child {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Dir = filepath.Dir(path)
	command.Env = append(append(os.Environ(), childName+"="+filepath.Base(path)), env...)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{command: command, lines: bufio.NewScanner(out)}
}

// hear takes in one line; it is false when the child has ended.
func (c *child) hear(t *testing.T) bool {
	t.Helper()
	if !c.lines.Scan() {
		return false
	}
	verb, rest, _ := strings.Cut(c.lines.Text(), " ")
	switch verb {
	case "done":
		number, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c.done = append(c.done, number)
	case "error":
		c.failure = rest
	case "hint":
		c.hint = rest
	}
	return true
}

// end hears the child out and waits for it.
func (c *child) end(t *testing.T) {
	t.Helper()
	for c.hear(t) {
	}
	var exit *exec.ExitError
	if err := c.command.Wait(); !errors.As(err, &exit) {
		t.Fatalf("child ended with %v", err)
	}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.end(t)
}

func openFile(ctx context.Context, path string) (*checkpoint.Checkpoint, error) {
	m, err := checkpoint.OpenFile(path)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.Open(ctx, m, binding)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return c, nil
}
