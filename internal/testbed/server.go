package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a server may take to end in good order before it is
// killed. Its data is thrown away, so nothing is lost by that.
const stopGrace = 20 * time.Second

// server is a running server process, its folder, and its log in that folder.
type server struct {
	dir        string
	process    *os.Process
	stopSignal os.Signal
	ended      chan struct{} // closed once the process is gone
}

// launch says how to start a server process.
type launch struct {
	cmd        *exec.Cmd
	dir        string // the server's folder: working directory, home and log
	stopSignal os.Signal
	// deathSignal is what the kernel sends when our process dies; 0 leaves the
	// server running.
	deathSignal syscall.Signal
}

// start starts the process in its own session, so that a Ctrl-C at the terminal
// reaches only us and we can end the servers in order.
func (l launch) start() (*server, error) {
	log, err := os.Create(filepath.Join(l.dir, "server.log"))
	if err != nil {
		return nil, fmt.Errorf("create server log: %w", err)
	}
	defer log.Close()
	l.cmd.Dir = l.dir
	l.cmd.Stdout, l.cmd.Stderr = log, log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: credential()}
	setDeathSignal(l.cmd.SysProcAttr, l.deathSignal)

	s := &server{dir: l.dir, stopSignal: l.stopSignal, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The death signal is tied to the thread that started the child, so
		// that thread is kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := l.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		// How the process ended is of no interest: its log says more.
		_ = l.cmd.Wait()
		close(s.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", l.cmd.Path, err)
	}
	s.process = l.cmd.Process
	return s, nil
}

// PID is the server's process id.
func (s *server) PID() int { return s.process.Pid }

// Dir is the folder that holds everything the server writes. Who leaves a
// detached server running removes it after the server's end.
func (s *server) Dir() string { return s.dir }

// Stop ends the server and removes its folder. It may be called again.
func (s *server) Stop() error {
	return errors.Join(s.end(), os.RemoveAll(s.dir))
}

func (s *server) end() error {
	if err := s.process.Signal(s.stopSignal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", s.PID(), err)
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-s.ended:
		return nil
	case <-grace.C:
	}
	if err := s.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", s.PID(), err)
	}
	<-s.ended
	return nil
}

// waitUntil asks ready every 50 ms until it returns nil, the server ends, or
// ctx does.
func (s *server) waitUntil(ctx context.Context, ready func(context.Context) error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	last := errors.New("not asked yet")
	for last != nil {
		select {
		case <-s.ended:
			return fmt.Errorf("server ended while it started; the end of its log:\n%s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for server: %w (last answer: %w); the end of its log:\n%s", ctx.Err(), last, s.logTail())
		case <-ticker.C:
			last = ready(ctx)
		}
	}
	return nil
}

// logTail returns the end of the server's log, for errors about its start.
func (s *server) logTail() string {
	const maxTailBytes = 2000
	log, err := os.ReadFile(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-maxTailBytes):])
}
