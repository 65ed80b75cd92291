package main

import (
	"slices"
	"strings"
	"testing"
)

func TestScreen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       string
	}{
		{"lines", "a\r\nb\r\n", "a\nb\n"},
		{"written over", "abc\rx", "xbc"},
		{"wiped with blanks", "50% |█  |\r         \rdone\r\n", "done\n"},
		{"wiped by a sequence", "50% |█  |\r\x1b[Kdone", "done"},
		{"colours", "\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[m", "red and green"},
		{"blanks at the end", "a   \r\n  b", "a\n  b"},
		{"half a sequence", "a\x1b[3", "a"},
		{"half a character", "a\xe2\x96", "a"},
	} {
		got, err := screen([]byte(test.text))
		if err != nil || strings.Join(got, "\n") != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	for _, text := range []string{"\x1b[2A", "\x1bc", "\a"} {
		if got, err := screen([]byte(text)); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}

func TestWithBar(t *testing.T) {
	t.Parallel()
	halfway := []string{"day 2: sealed", "5 MB  50% |██  |"}
	if got := progress(halfway); got != 50 {
		t.Errorf("the bar is at %d", got)
	}
	if got := progress(halfway[:1]); got != -1 {
		t.Errorf("no bar is at %d", got)
	}
	got := withBar([]string{"day 2: sealed", "day 1: sealed", "read 2"}, halfway)
	if want := []string{"day 2: sealed", "5 MB  50% |██  |", "day 1: sealed", "read 2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
