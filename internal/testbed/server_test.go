package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// abandoned is a server whose starter has exited.
type abandoned struct {
	pid int
	dir string
	url string
}

func (a abandoned) running() bool { return !errors.Is(syscall.Kill(a.pid, 0), syscall.ESRCH) }

func startAbandoned(t *testing.T, mode string) abandoned {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+mode)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var a abandoned
	if _, err := fmt.Sscan(string(output), &a.pid, &a.dir, &a.url); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	t.Cleanup(func() { _ = os.RemoveAll(a.dir) })
	return a
}

func TestDetachedServerStays(t *testing.T) {
	t.Parallel()
	a := startAbandoned(t, "detach")
	if got := queryOne[int](t, a.url, "select 1"); got != 1 {
		t.Errorf("select 1: %d", got)
	}
	if err := syscall.Kill(a.pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the server", func() bool { return !a.running() })
}

func TestStartReportsTheLogOfAServerThatEnds(t *testing.T) {
	t.Parallel()
	p, err := StartPostgres(t.Context(), PostgresOptions{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil {
		stop(t, p.server)
		t.Fatal("started with an unknown setting")
	}
	if !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("the error does not say why: %v", err)
	}
}

func TestPostgresReportsALostRaceForItsPort(t *testing.T) {
	t.Parallel()
	home, err := postgresDistribution(DefaultPostgres).install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := newStateDir("postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := newCluster(t.Context(), home, filepath.Join(dir, "data"), nil); err != nil {
		t.Fatal(err)
	}
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	taken := fmt.Sprint(stranger.Addr().(*net.TCPAddr).Port)
	p, err := launchPostgres(t.Context(), dir, home, PostgresOptions{Settings: map[string]string{"port": taken}})
	if err == nil {
		stop(t, p.server)
	}
	if !errors.Is(err, errPortTaken) {
		t.Errorf("error %v, want %v", err, errPortTaken)
	}
}
