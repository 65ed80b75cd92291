package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"unsafe"
)

// atTerminal runs cmd with a terminal as its input and both its outputs, and
// returns what stands on it at the end. watch, unless nil, is called with what
// stands there whenever that changes.
func atTerminal(cmd *exec.Cmd, watch func(lines []string)) (lines []string, err error) {
	ours, theirs, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	defer ours.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil {
		return nil, err
	}
	var text []byte
	part := make([]byte, 4096)
	for {
		n, err := ours.Read(part)
		text = append(text, part[:n]...)
		now, wrong := screen(text)
		if wrong != nil {
			return nil, errors.Join(wrong, cmd.Process.Kill(), cmd.Wait())
		}
		if watch != nil && !slices.Equal(now, lines) {
			watch(now)
		}
		lines = now
		if err != nil { // EIO: nobody has the other end open any more
			return lines, cmd.Wait()
		}
	}
}

// openTerminal returns both ends of a pseudo terminal.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var number, locked int32
	size := struct{ rows, columns, width, height uint16 }{50, columns, 0, 0}
	err = errors.Join(
		control(ours, syscall.TIOCGPTN, unsafe.Pointer(&number)),
		control(ours, syscall.TIOCSPTLCK, unsafe.Pointer(&locked)),
		control(ours, syscall.TIOCSWINSZ, unsafe.Pointer(&size)),
	)
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	return ours, theirs, nil
}

func control(file *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(argument)); code != 0 {
		return os.NewSyscallError("ioctl", code)
	}
	return nil
}
