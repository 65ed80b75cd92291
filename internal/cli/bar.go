package cli

import (
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar is drawn at a terminal, as wide as that is at the moment.
type bar struct {
	terminal *os.File
	columns  int
	drawn    *progressbar.ProgressBar // nil before the first drawing
}

// draw draws the bar with a text beside it, which is cut where the terminal ends: a
// line that is wrapped could not be drawn over.
func (b *bar) draw(done, planned int64, text string) {
	columns, _, err := term.GetSize(int(b.terminal.Fd()))
	if err != nil || columns == 0 {
		columns = 80
	}
	width, room := barWidth(columns)
	if columns != b.columns {
		b.clear()
		b.columns = columns
		b.drawn = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(b.terminal), progressbar.OptionShowBytes(false), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetWidth(width), progressbar.OptionSetElapsedTime(false), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(false))
	}
	b.drawn.ChangeMax64(max(planned, done, 1))
	b.drawn.Describe(text[:min(len(text), room)])
	_ = b.drawn.Set64(done)
}

func (b *bar) clear() {
	if b.drawn != nil {
		_ = b.drawn.Clear()
	}
}

// barWidth divides a line between the bar and the text beside it, in columns: the
// longest text and a bar of 5 to 30, else a text that is cut.
func barWidth(columns int) (bar, text int) {
	const longest, share, smallest, largest = 66, len(" 100% || "), 5, 30
	bar = min(max(columns-longest-share, smallest), largest)
	return bar, max(columns-bar-share, 0)
}
