package main

import (
	"fmt"
	"strings"
)

// screen returns what stands on a terminal after text was written to it, by
// line and without blanks at the ends. It knows what the tool uses: the start of
// the line, the next line, colours, and clearing to the end of the line. Lines
// are not wrapped. What is not complete at the end of text is left out.
func screen(text []byte) ([]string, error) {
	lines, column := [][]rune{nil}, 0
	rest := []rune(strings.ToValidUTF8(string(text), ""))
	for len(rest) > 0 {
		last := len(lines) - 1
		switch r := rest[0]; {
		case r == '\x1b':
			length, erase, err := escape(rest)
			if err != nil {
				return nil, err
			}
			if erase {
				lines[last] = lines[last][:min(column, len(lines[last]))]
			}
			rest = rest[length:]
			continue
		case r == '\r':
			column = 0
		case r == '\n':
			lines, column = append(lines, nil), 0
		case r < ' ':
			return nil, fmt.Errorf("control character %q", r)
		default:
			for len(lines[last]) <= column {
				lines[last] = append(lines[last], ' ')
			}
			lines[last][column] = r
			column++
		}
		rest = rest[1:]
	}
	shown := make([]string, len(lines))
	for i, line := range lines {
		shown[i] = strings.TrimRight(string(line), " ")
	}
	return shown, nil
}

// escape reads the escape sequence that text begins with: its length, and
// whether it clears the rest of the line.
func escape(text []rune) (length int, erase bool, err error) {
	for i, r := range text {
		switch {
		case i == 0, i == 1 && r == '[', i > 1 && (r >= '0' && r <= '9' || r == ';'):
			continue
		case i > 1 && r == 'm':
			return i + 1, false, nil
		case i > 1 && r == 'K':
			return i + 1, true, nil
		}
		return 0, false, fmt.Errorf("escape sequence %q", string(text[:i+1]))
	}
	return len(text), false, nil
}
