package verify

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Class is what is wrong with a node.
type Class string

// The classes, in the order in which reports list them.
const (
	Missing    Class = "missing"    // no document has the id
	Extra      Class = "extra"      // a document without a row
	Different  Class = "different"  // its inner bytes, or its version, are not those of the row
	Unreadable Class = "unreadable" // Sentry's reader would raise, or not find it
	TwoPlaces  Class = "two_places" // several documents have the id: Sentry reads none of them
	WrongDay   Class = "wrong_day"  // the one document is in another day's index
	Uncompared Class = "uncompared" // a side could not be read: no statement is possible
)

// Classes lists the classes in order.
func Classes() []Class {
	return []Class{Missing, Extra, Different, Unreadable, TwoPlaces, WrongDay, Uncompared}
}

// Finding is one thing that is wrong. It holds no payload.
type Finding struct {
	Class   Class    `json:"class"`
	ID      string   `json:"id,omitempty"` // empty where only numbers were compared
	Day     string   `json:"day"`          // of the row, or of the index if there is no row
	Known   string   `json:"known"`        // what is known, in words
	Indices []string `json:"indices,omitempty"`

	Compared string `json:"compared"`        // the day whose comparison found it
	Round    int    `json:"round,omitempty"` // of that comparison: what is compared again counts from its last round
}

func otherVersion(micros, millis int64) string {
	which := "older"
	if millis > node.Millis(micros) {
		which = "newer"
	}
	return "the row is of " + isoTime(micros) + ", its document of " + isoMillis(millis) + ", which is " + which
}

func isoTime(micros int64) string { return string(node.AppendTimestamp(nil, micros)) }

func isoMillis(millis int64) string {
	if millis < 0 {
		return "no timestamp"
	}
	return fmt.Sprintf("%.23sZ", isoTime(millis*1000))
}

// maxListed bounds the memory that keeps a finding from being listed twice. Of
// more findings than this, some may be.
const maxListed = 1 << 17

const hintFindings = "findings are listed beside the checkpoint: make room there and run the same command again, it resumes"

// findings is the file of findings, one JSON object a line. What an interrupted
// run wrote behind the size that the checkpoint knows is cut off.
type findings struct {
	mu     sync.Mutex
	file   *os.File
	size   int64
	count  int64
	listed map[uint64]struct{}
	seed   maphash.Seed
	rounds map[string]int // by the day that is compared
}

// openFindings opens the file at path with size bytes that count, of the last
// round of each day.
func openFindings(path string, size int64, rounds map[string]int) (*findings, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open file of findings: %w", err)
	}
	f := &findings{file: file, size: size, listed: map[uint64]struct{}{}, seed: maphash.MakeSeed(), rounds: rounds}
	err = f.each(func(found Finding) error {
		f.listed[f.key(found)] = struct{}{}
		f.count++
		return nil
	})
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open file of findings: %w", err), file.Close())
	}
	return f, nil
}

// each hands over the findings that count, in the order of the file.
func (f *findings) each(visit func(Finding) error) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.size {
		return hint.Add(fmt.Errorf("%s has %d bytes where the checkpoint knows of %d", f.file.Name(), info.Size(), f.size),
			"put the file back")
	}
	lines := bufio.NewScanner(io.NewSectionReader(f.file, 0, f.size))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var found Finding
		if err := json.Unmarshal(lines.Bytes(), &found); err != nil {
			return fmt.Errorf("line of %s: %w", f.file.Name(), err)
		}
		if found.Round != f.rounds[found.Compared] {
			continue
		}
		if err := visit(found); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (f *findings) key(found Finding) uint64 {
	return maphash.Comparable(f.seed, [2]string{string(found.Class), found.ID + "\x00" + found.Day})
}

// add lists a finding of the comparison of a day, once.
func (f *findings) add(day string, found Finding) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	found.Compared, found.Round = day, f.rounds[day]
	key := f.key(found)
	if _, known := f.listed[key]; known {
		return nil
	}
	line, err := json.Marshal(found)
	if err == nil {
		_, err = f.file.WriteAt(append(line, '\n'), f.size)
	}
	if err != nil {
		return hint.Add(fmt.Errorf("list finding: %w", err), hintFindings)
	}
	if len(f.listed) < maxListed {
		f.listed[key] = struct{}{}
	}
	f.count++
	f.size += int64(len(line)) + 1
	return nil
}

// setAside copies the findings into another file, which is the caller's to
// remove: they are too many to be held.
func (f *findings) setAside() (aside *findings, err error) {
	aside, err = openFindings(f.file.Name()+".repaired", 0, f.rounds)
	if err != nil {
		return nil, err
	}
	if aside.size, err = io.Copy(aside.file, io.NewSectionReader(f.file, 0, f.size)); err != nil {
		return nil, errors.Join(fmt.Errorf("set findings aside: %w", err), aside.remove())
	}
	return aside, nil
}

func (f *findings) remove() error { return errors.Join(f.file.Close(), os.Remove(f.file.Name())) }

// reset forgets all findings.
func (f *findings) reset() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size, f.count = 0, 0
	clear(f.listed)
	if err := f.file.Truncate(0); err != nil {
		return fmt.Errorf("list findings again: %w", err)
	}
	return nil
}

// sync makes what was listed durable and returns its size.
func (f *findings) sync() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.file.Sync(); err != nil {
		return 0, hint.Add(fmt.Errorf("list findings: %w", err), hintFindings)
	}
	return f.size, nil
}

func (f *findings) total() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// CheckWritable makes sure that a file can be written, before work begins whose
// result it is to hold. It leaves no new file behind.
func CheckWritable(path string) error {
	_, err := os.Stat(path)
	absent := errors.Is(err, fs.ErrNotExist)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err == nil && absent {
		err = os.Remove(path)
	}
	if err != nil {
		return hint.Add(fmt.Errorf("check that a file can be written: %w", err), "name a file in a directory that exists and can be written to; nothing was compared")
	}
	return nil
}
