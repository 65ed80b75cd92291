package checkpoint

import (
	"encoding/binary"
	"hash/fnv"
)

const minute = int64(60_000_000) // µs

// Mark is a node that has its fate, by a hash of its id and timestamp.
type Mark struct {
	minute int64 // of its timestamp, µs
	hash   uint64
}

// MarkOf hashes with 64 bits: among the nodes of an overlap, hundreds of
// thousands, two share a hash once in a hundred million runs.
func MarkOf(id []byte, micros int64) Mark {
	h := fnv.New64a()
	h.Write(id) // never returns an error
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(micros)))
	return Mark{MinuteOf(micros), h.Sum64()}
}

// MinuteOf is the first µs of a time's minute.
func MinuteOf(micros int64) int64 {
	at := micros - micros%minute
	if micros%minute < 0 {
		at -= minute
	}
	return at
}

// Marks are marks by the minute: most minutes have none, which costs no hash.
type Marks map[int64]map[uint64]bool

// Has reports whether a mark is among them.
func (m Marks) Has(one Mark) bool { return m[one.minute][one.hash] }

// Add adds a mark.
func (m Marks) Add(one Mark) {
	if m[one.minute] == nil {
		m[one.minute] = make(map[uint64]bool)
	}
	m[one.minute][one.hash] = true
}

// HasDocument reports whether a document is that of a marked node. It keeps
// milliseconds of the timestamp.
func (m Marks) HasDocument(id string, millis int64) bool {
	if m[MinuteOf(millis*1000)] == nil {
		return false
	}
	for micros := millis * 1000; micros < (millis+1)*1000; micros++ {
		if m.Has(MarkOf([]byte(id), micros)) {
			return true
		}
	}
	return false
}

// Remember adds marks to those of recent nodes.
func (c *CatchUp) Remember(marks []Mark) { c.Recent = remember(c.Recent, marks) }

// Announce adds marks of nodes whose timestamp is in the future.
func (c *CatchUp) Announce(marks []Mark) { c.Ahead = remember(c.Ahead, marks) }

func remember(hashes map[int64][]byte, marks []Mark) map[int64][]byte {
	if len(marks) > 0 && hashes == nil {
		hashes = make(map[int64][]byte)
	}
	for _, k := range marks {
		hashes[k.minute] = binary.LittleEndian.AppendUint64(hashes[k.minute], k.hash)
	}
	return hashes
}

// Forget takes out the marks of every minute that is old.
func (c *CatchUp) Forget(old func(minute int64) bool) {
	for _, hashes := range []map[int64][]byte{c.Recent, c.Ahead} {
		for at := range hashes {
			if old(at) {
				delete(hashes, at)
			}
		}
	}
}

// Marks are those of recent nodes, which have their fate.
func (c *CatchUp) Marks() Marks {
	marks := make(Marks)
	marks.read(c.Recent)
	return marks
}

// Written are the marks of all nodes that are known to have been written, or to
// be about to be.
func (c *CatchUp) Written() Marks {
	marks := c.Marks()
	marks.read(c.Ahead)
	return marks
}

func (m Marks) read(hashes map[int64][]byte) {
	for at, list := range hashes {
		for ; len(list) >= 8; list = list[8:] {
			m.Add(Mark{at, binary.LittleEndian.Uint64(list)})
		}
	}
}
