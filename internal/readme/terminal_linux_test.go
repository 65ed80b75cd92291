package main

import (
	"errors"
	"os/exec"
	"slices"
	"testing"
)

func TestAtTerminal(t *testing.T) {
	t.Parallel()
	seen := 0
	lines, err := atTerminal(exec.Command("sh", "-c", `test -t 0 && test -t 1 && printf 'bar\r' && test -t 2 && stty size && exit 3`),
		func([]string) { seen++ })
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok || failed.ExitCode() != 3 {
		t.Errorf("%v, want exit code 3", err)
	}
	if want := []string{"50 100", ""}; !slices.Equal(lines, want) || seen == 0 {
		t.Errorf("%q, watched %d times; want %q", lines, seen, want)
	}
}
