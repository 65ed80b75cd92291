package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The bar is as wide as the terminal is at the moment, and never wider: a line that is
// wrapped leaves its rest behind.
func TestBarFollowsTheTerminalsSize(t *testing.T) {
	t.Parallel()
	screen, terminal := openTerminal(t)
	b := &bar{terminal: terminal}
	widest := map[uint16]int{}
	for _, columns := range []uint16{120, 79, 40, 12, 100} {
		if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
			t.Fatal(err)
		}
		b.clear() // of the size before
		for done := range int64(3) {
			b.draw(done, 10, strings.Repeat("x", 66))
		}
		fmt.Fprintln(terminal)
		for line := range strings.SplitSeq(readLine(t, screen), "\r") {
			widest[columns] = max(widest[columns], len([]rune(strings.TrimRight(line, " \n"))))
		}
	}
	for columns, width := range widest {
		if width > int(columns) {
			t.Errorf("a line of %d in %d columns", width, columns)
		}
	}
	if widest[120] < 100 || widest[100] < 90 || widest[40] < 30 {
		t.Errorf("the bar is narrow: %v", widest)
	}
}

// openTerminal opens a terminal, and the screen that shows what is written there.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return screen, terminal
}

// readLine reads up to the end of a line.
func readLine(t *testing.T, from *os.File) string {
	var line []byte
	for buffer := make([]byte, 4096); !strings.HasSuffix(string(line), "\n"); {
		n, err := from.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		line = append(line, buffer[:n]...)
	}
	return string(line)
}
