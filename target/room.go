package target

import (
	"fmt"
	"net/http"
)

const (
	// roomMargin is the share of a disk, beside what a watermark asks for, that a
	// load leaves free: merges and what is under way still need room.
	roomMargin = 0.02
	// roomEasing is how much more has to be free for a load that waits to resume.
	roomEasing = 0.01
)

// Reserve is what a load leaves free on the disk of one of so many nodes, in bytes.
func (l Limits) Reserve(d Disk, nodes int) int64 {
	if !l.Enforced {
		return 0
	}
	_, mark := l.Mark(nodes)
	return mark.Free(d.Total) + int64(roomMargin*float64(d.Total))
}

// NoRoom says why a load has to wait for room, or "": every node has reached the
// mark, so that none takes new shards, or one comes close to the flood stage, at
// which the indices on it refuse writes. A load that waits already wants more.
func (l Limits) NoRoom(disks []Disk, waits bool) (why string) {
	if !l.Enforced {
		return ""
	}
	full := 0
	for _, d := range disks {
		kept := l.Reserve(d, len(disks))
		flood := l.Flood.Free(d.Total) + int64(roomMargin*float64(d.Total))
		if waits {
			kept += int64(roomEasing * float64(d.Total))
			flood += int64(roomEasing * float64(d.Total))
		}
		text := fmt.Sprintf("%s's disk is at %.0f %%, low watermark %s, flood stage %s", d.Node, 100*d.Used(), l.Low.shown(), l.Flood.shown())
		if d.Available <= flood {
			return text
		}
		if d.Available <= kept {
			full, why = full+1, text
		}
	}
	if full < len(disks) {
		return ""
	}
	return why
}

// shown is a watermark for people.
func (w Watermark) shown() string {
	if w.bytes > 0 {
		return w.text + " free"
	}
	return fmt.Sprintf("%.0f %%", 100*w.used)
}

// NotTold reports whether an error says that the cluster does not let one ask
// that: a privilege, or a managed cluster that hides it.
func NotTold(err error) bool {
	return statusOf(err)/100 == 4 && statusOf(err) != http.StatusTooManyRequests
}
