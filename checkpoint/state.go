package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// format is the version of the document. It is raised when an older tool would
// misread a newer document, not when a field is added.
const format = 1

// ErrDamaged is in the chain of every error about a checkpoint that exists but
// cannot be understood. It is never taken for a new one: that would copy
// everything again and forget which settings are to be given back.
var ErrDamaged = errors.New("checkpoint is damaged")

// NewerError says that a later version of the tool wrote the checkpoint.
type NewerError struct {
	Format int    // the format of the document
	Tool   string // the version that wrote it
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("checkpoint has format %d, written by version %q; this version reads format %d", e.Format, e.Tool, format)
}

// State is the document: all that a migration must know to resume. It holds
// names and numbers only, no payload and no password.
type State struct {
	Format    int                 `json:"format"`
	Tool      string              `json:"tool"` // the version that wrote it, set when it is saved
	Binding   Binding             `json:"binding"`
	Started   time.Time           `json:"started"`              // when the first run began
	Saved     time.Time           `json:"saved"`                // when it was last written, set when it is saved
	CopyUntil int64               `json:"copy_until,omitempty"` // rows before it are copied by slices, in µs since 1970; each pass moves it on; 0: no pass yet
	Days      map[string]*Day     `json:"days"`                 // by node.Day.String
	Borrowed  map[string]Borrowed `json:"borrowed"`             // by index: settings that are to be given back
	Unbounded *node.Fates         `json:"unbounded,omitempty"`  // of the rows that belong to no day; nil: not looked for yet
	Rejected  Rejected            `json:"rejected,omitzero"`    // how much of the files of rejected nodes counts
	CatchUp   CatchUp             `json:"catch_up,omitzero"`
	Shards    int                 `json:"shards,omitempty"` // number of shards whose checkpoints were gathered into this one; 0: none
	Shape     Shape               `json:"shape,omitzero"`   // what the indices of past days are made like
	Verify    *Verify             `json:"verify,omitempty"` // nil: never verified
}

// NeverSwept says of CatchUp.Swept that any id may be in several days.
const NeverSwept int64 = math.MinInt64

// CatchUp is what the passes after the copy must know of those before. Times
// are µs since 1970.
type CatchUp struct {
	// Windows end at earlier values of CopyUntil: rows in them may have been
	// committed after their slice was read. Recent has all that had its fate.
	Windows []Range `json:"windows,omitempty"`
	// Swept: ids with a timestamp before it are in one day only, or NeverSwept.
	Swept int64 `json:"swept,omitempty"`
	// Recent has a hash of each node in the windows that has its fate, by
	// the minute of its timestamp, 8 bytes each: what is not there came late.
	Recent map[int64][]byte `json:"recent,omitempty"`
	// Ahead has the same of nodes whose timestamp was in the future, from before
	// they are written on: what they leave must not be taken for Sentry's.
	Ahead map[int64][]byte `json:"ahead,omitempty"`
	// SwitchedAt is when Sentry began to write to the target; 0: not yet.
	SwitchedAt int64 `json:"switched_at,omitempty"`
	// Before says that rows were copied before the switch, so that what is gone from
	// the source when a run first ends after it was deleted there by Sentry.
	Before bool `json:"before,omitempty"`
	// Overlap is how late a row can be committed, in µs: how far the last pass
	// looked back.
	Overlap int64 `json:"overlap,omitempty"`
	// Retention is how many days Sentry keeps, as it was last given; 0: all.
	Retention int `json:"retention,omitempty"`
	// Completed is the last run that came to its end; nil: none did.
	Completed *Completed `json:"completed,omitempty"`
}

// Completed is what a run that came to its end has seen.
type Completed struct {
	Until    int64     `json:"until"`              // the end of its last pass, in µs since 1970 by the source's clock
	At       time.Time `json:"at"`                 // when it ended, by this machine's clock
	Switched bool      `json:"switched,omitempty"` // it knew of the switch
	Whole    bool      `json:"whole,omitempty"`    // it was about all days
}

// Shape is what the indices of past days get in place of what the template says;
// a zero value is the template's.
type Shape struct {
	Codec  string `json:"codec,omitempty"`
	Shards int    `json:"shards,omitempty"`
}

// Or returns the shape, filled in from another where it says nothing.
func (s Shape) Or(other Shape) Shape {
	return Shape{Codec: cmp.Or(s.Codec, other.Codec), Shards: cmp.Or(s.Shards, other.Shards)}
}

// Rejected is how much of the files of rejected nodes belongs to what is done,
// in bytes. What lies behind it was written by a run that crashed.
type Rejected struct {
	List     int64 `json:"list"`
	Payloads int64 `json:"payloads,omitempty"`
}

// Day is what is done of one day.
type Day struct {
	Index     string       `json:"index"`                // the daily index
	Planned   int64        `json:"planned"`              // bytes that the plan expects, for progress only
	Done      Ranges       `json:"done"`                 // slices whose nodes all have their fate, durably
	Fates     node.Fates   `json:"fates"`                // of the nodes in Done
	Bytes     int64        `json:"bytes"`                // payload bytes of the nodes in Done
	Sealed    time.Time    `json:"sealed,omitzero"`      // zero: not sealed
	SentAgain Ranges       `json:"sent_again,omitempty"` // the timestamps of batches that were sent more than once; may span others
	Counted   int64        `json:"counted,omitzero"`     // documents in the index when it was sealed
	Compact   time.Time    `json:"compact,omitzero"`     // when the sealed day was merged to one segment a shard; zero: it was not
	Stored    int64        `json:"stored,omitzero"`      // bytes of its primary shards then
	Digest    *node.Digest `json:"digest,omitempty"`     // of the documents of the nodes in Done; nil: not known
	UUID      string       `json:"uuid,omitempty"`       // of the index that the nodes went to
	Dropped   time.Time    `json:"dropped,omitzero"`     // when its index was found gone, with the day beyond the retention: it is not made again
	Lost      time.Time    `json:"lost,omitzero"`        // when its index was found gone though no retention covers the day
}

// Gone reports whether the day's index was found gone.
func (d *Day) Gone() bool { return !d.Dropped.IsZero() || !d.Lost.IsZero() }

// GoneAs is the fate of the nodes of a day whose index was found gone.
func (d *Day) GoneAs() node.Fate {
	if !d.Lost.IsZero() {
		return node.Lost
	}
	return node.OutOfRetention
}

// Stands reports whether the day is sealed and has its index.
func (d *Day) Stands() bool { return !d.Sealed.IsZero() && !d.Gone() && d.Index != "" }

// Borrowed is what an index had before it was changed for loading.
type Borrowed struct {
	Settings map[string]*string `json:"settings"` // setting → value to give back; nil: back to the default
	At       time.Time          `json:"at"`
	UUID     string             `json:"uuid,omitempty"` // of the index; "": it was not known to be there yet
}

// Day returns the record of a day, made empty when there is none yet.
func (s *State) Day(day node.Day) *Day {
	name := day.String()
	if s.Days[name] == nil {
		s.Days[name] = &Day{}
	}
	return s.Days[name]
}

// NoneError says that there is no checkpoint. It is fs.ErrNotExist.
type NoneError struct{ Err error }

func (e *NoneError) Error() string { return "read checkpoint: " + e.Err.Error() }
func (e *NoneError) Unwrap() error { return e.Err }

// Read returns the state in the file at path without taking its lock, so it
// also answers while a run holds it. Without a file the error is
// a *NoneError.
func Read(path string) (State, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, &NoneError{err}
	}
	if err != nil {
		return State{}, fmt.Errorf("read checkpoint: %w", err)
	}
	state, err := Decode(data)
	if err != nil {
		return State{}, fmt.Errorf("read checkpoint %s: %w", path, err)
	}
	return state, nil
}

// encode stamps the state and returns its document.
func (s *State) encode() ([]byte, error) {
	s.Format, s.Tool, s.Saved = format, version(), time.Now().UTC()
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	return append(data, '\n'), nil
}

// Decode reads a document as a Medium holds it. Its error is ErrDamaged or a
// *NewerError.
func Decode(data []byte) (State, error) {
	var head struct {
		Format int    `json:"format"`
		Tool   string `json:"tool"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return State{}, damaged(err)
	}
	if head.Format > format {
		return State{}, hint.Add(&NewerError{head.Format, head.Tool},
			"use the version that wrote it, or a later one")
	}
	if head.Format < 1 {
		return State{}, damaged(errors.New("no format: not a checkpoint"))
	}
	state := State{Days: map[string]*Day{}, Borrowed: map[string]Borrowed{}}
	if err := json.Unmarshal(data, &state); err != nil {
		return State{}, damaged(err)
	}
	if err := state.check(); err != nil {
		return State{}, damaged(err)
	}
	return state, nil
}

// check refuses documents that parse but that no run wrote.
func (s *State) check() error {
	if s.Days == nil || s.Borrowed == nil {
		return errors.New("days or borrowed settings are null")
	}
	for name, day := range s.Days {
		if _, err := node.ParseDay(name); err != nil {
			return err
		}
		if day == nil {
			return fmt.Errorf("day %s is null", name)
		}
		if err := day.Done.check(); err != nil {
			return fmt.Errorf("day %s: %w", name, err)
		}
		if err := day.SentAgain.check(); err != nil {
			return fmt.Errorf("day %s: sent again: %w", name, err)
		}
	}
	return s.Verify.check()
}

func damaged(err error) error {
	return hint.Add(fmt.Errorf("%w: %w", ErrDamaged, err),
		"restore the file from a copy. Or move it away and run again: that copies everything again, "+
			"and does not give back index settings that an interrupted run had changed")
}

// version is the version of the tool as the Go toolchain stamped it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
