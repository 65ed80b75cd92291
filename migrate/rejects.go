package migrate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// ReasonTimestamp is the reason to reject a row whose timestamp is infinite or
// outside the years 1 to 9999: it belongs to no day.
const ReasonTimestamp node.Reason = "unbounded_timestamp"

// ReasonUnreadable is the reason to reject a row that PostgreSQL has and cannot
// read: its page, or a chunk of its payload, is damaged.
const ReasonUnreadable node.Reason = "unreadable_at_source"

// Rejected is a line of the file of rejected nodes. The last line of a node counts.
type Rejected struct {
	ID        string      `json:"id"`
	Timestamp string      `json:"timestamp"` // ISO 8601, or as PostgreSQL writes one that belongs to no day
	Reason    node.Reason `json:"reason"`
	Detail    string      `json:"detail,omitempty"`  // the target's words
	Retried   bool        `json:"retried,omitempty"` // it was sent again, and is rejected no more
}

// rejectedPayload is a line of the file of rejected payloads.
type rejectedPayload struct {
	ID   string `json:"id"`
	Data []byte `json:"data"` // as the column has it
}

const hintRejects = "the list is kept beside the checkpoint: make sure that there is room and that this user may write there, then run the same command again"

// RejectsSize is how much of the files counts: what a crashed run wrote behind
// it is cut off by the next one, so that no node is listed twice.
type RejectsSize struct{ List, Payloads int64 }

// RejectedList is where the list of rejected nodes is kept.
type RejectedList interface {
	// Append makes lines the end of the list, durably. What the list has from
	// the offset at on, in bytes, was left by a run that crashed: it goes.
	Append(ctx context.Context, at int64, lines []byte) error
	// Each hands over the first size bytes, in parts of whole lines.
	Each(ctx context.Context, size int64, visit func(lines []byte) error) error
	// Path says where the list is.
	Path() string
	Close() error
}

// Rejects tell of the rejected nodes: a list, one JSON object a line, without
// payloads; and, only if asked for, a file of their payloads, compressed with
// zstd. Nobody but the owner may read the files.
type Rejects struct {
	mu       sync.Mutex // held while list and checkpoint are brought in step
	list     RejectedList
	payloads *os.File // nil: not asked for
	size     RejectsSize
	listed   map[uint64]node.Reason  // by hashes of what is listed; nil: not read yet
	byMinute map[int64]source.Moment // of these, by the first µs
}

// NewRejects resumes a list. size is what the checkpoint knows of it.
func NewRejects(list RejectedList, size RejectsSize) *Rejects {
	return &Rejects{list: list, size: size}
}

// OpenRejects opens the list at path and, unless payloadPath is empty, the file
// of payloads. size is what the checkpoint knows of them.
func OpenRejects(path, payloadPath string, size RejectsSize) (*Rejects, error) {
	list, err := openAt(path, size.List)
	if err != nil {
		return nil, err
	}
	r := NewRejects(fileList{list}, size)
	if payloadPath == "" {
		return r, nil
	}
	if r.payloads, err = openAt(payloadPath, size.Payloads); err != nil {
		return nil, errors.Join(err, list.Close())
	}
	return r, nil
}

// fileList is the list in a file.
type fileList struct{ *os.File }

// Append is that of RejectedList.
func (f fileList) Append(_ context.Context, at int64, lines []byte) error {
	return appendTo(f.File, at, lines)
}

// Each is that of RejectedList.
func (f fileList) Each(_ context.Context, size int64, visit func(lines []byte) error) error {
	lines := bufio.NewReader(io.NewSectionReader(f.File, 0, size))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rejected nodes: %w", err)
		}
		if err := visit(line); err != nil {
			return err
		}
	}
}

// Path is that of RejectedList.
func (f fileList) Path() string { return f.Name() }

func openAt(path string, size int64) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("open file of rejected nodes: %w", err), hintRejects)
	}
	info, err := file.Stat()
	if err == nil && info.Size() < size {
		err = hint.Add(fmt.Errorf("%s has %d bytes, the checkpoint knows of %d", path, info.Size(), size),
			"put the file back that the earlier runs wrote: nothing else says which nodes were rejected")
	}
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open file of rejected nodes: %w", err), file.Close())
	}
	return file, nil
}

// Path is where the list is.
func (r *Rejects) Path() string { return r.list.Path() }

// Close closes the list and the file.
func (r *Rejects) Close() error {
	err := r.list.Close()
	if r.payloads != nil {
		err = errors.Join(err, r.payloads.Close())
	}
	return err
}

// Each hands over the lines of the list, in parts of whole lines.
func (r *Rejects) Each(ctx context.Context, visit func(lines []byte) error) error {
	return r.list.Each(ctx, r.size.List, visit)
}

// load reads what is listed.
func (r *Rejects) load(ctx context.Context) error {
	if r.listed != nil {
		return nil
	}
	r.listed, r.byMinute = make(map[uint64]node.Reason), make(map[int64]source.Moment)
	err := r.Each(ctx, func(lines []byte) error {
		for line := range bytes.Lines(lines) {
			var rejected Rejected
			if err := json.Unmarshal(line, &rejected); err != nil {
				return fmt.Errorf("read rejected nodes: %w", err)
			}
			r.note(rejected)
		}
		return nil
	})
	if err != nil {
		r.listed = nil
	}
	return err
}

// note remembers a node, or forgets one that was sent again, and reports whether that
// is new.
func (r *Rejects) note(rejected Rejected) bool {
	key := rejected.key()
	if _, known := r.listed[key]; known != rejected.Retried {
		return false
	}
	change := 1
	if r.listed[key] = rejected.Reason; rejected.Retried {
		delete(r.listed, key)
		change = -1
	}
	if micros, ok := rejected.micros(); ok {
		start := checkpoint.MinuteOf(micros)
		m := r.byMinute[start]
		r.byMinute[start] = source.Moment{Count: m.Count + int64(change), Sum: m.Sum + float64(change)*float64(node.Millis(micros))}
	}
	return true
}

// micros is the timestamp, in µs since 1970, unless it belongs to no day.
func (r Rejected) micros() (micros int64, ok bool) {
	at, err := time.Parse(time.RFC3339Nano, r.Timestamp)
	return at.UnixMicro(), err == nil
}

func (r Rejected) key() uint64 {
	h := fnv.New64a()
	h.Write([]byte(r.ID + "\x00" + r.Timestamp)) // never returns an error
	return h.Sum64()
}

// has reports whether this very version of a node is listed.
func (r *Rejects) has(ctx context.Context, id []byte, micros int64) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load(ctx)
	_, known := r.listed[Rejected{ID: string(id), Timestamp: isoTime(micros)}.key()]
	return known, err
}

// Reasons counts what is listed, by reason.
func (r *Rejects) Reasons(ctx context.Context) (map[node.Reason]int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := map[node.Reason]int64{}
	err := r.load(ctx)
	for _, reason := range r.listed {
		count[reason]++
	}
	return count, err
}

// of lists the nodes of a day that are rejected for one of some reasons.
func (r *Rejects) of(ctx context.Context, reasons []node.Reason) (map[node.Day]map[key]Rejected, error) {
	found := map[node.Day]map[key]Rejected{}
	err := r.Each(ctx, func(lines []byte) error {
		for line := range bytes.Lines(lines) {
			var rejected Rejected
			if err := json.Unmarshal(line, &rejected); err != nil {
				return fmt.Errorf("read rejected nodes: %w", err)
			}
			micros, bounded := rejected.micros()
			day, k := node.DayOf(micros), key{rejected.ID, micros}
			switch {
			case rejected.Retried:
				delete(found[day], k)
			case bounded && slices.Contains(reasons, rejected.Reason):
				if found[day] == nil {
					found[day] = map[key]Rejected{}
				}
				found[day][k] = rejected
			}
		}
		return nil
	})
	return found, err
}

// minutes are the rejected nodes of each minute, by its first µs.
func (r *Rejects) minutes(ctx context.Context) (map[int64]source.Moment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load(ctx)
	return maps.Clone(r.byMinute), err
}

// lines are what the list says of nodes that were retried, and of those rejected: nothing
// of one that is rejected for the same reason again.
func lines(retried, rejected []Rejected) []Rejected {
	reasons := make(map[uint64]node.Reason, len(rejected))
	for _, one := range rejected {
		reasons[one.key()] = one.Reason
	}
	retried = slices.DeleteFunc(retried, func(was Rejected) bool { return reasons[was.key()] == was.Reason })
	return append(retried, rejected...)
}

// commit appends to the list and the file, durably, and calls record with their
// sizes, which has to put these into the checkpoint. A node is listed once.
func (r *Rejects) commit(ctx context.Context, list []Rejected, payloads []rejectedPayload, record func(RejectsSize) error) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			r.listed = nil // what was noted may not be listed
		}
	}()
	size := r.size
	lines, err := jsonLines(slices.DeleteFunc(list, func(one Rejected) bool { return !r.note(one) }))
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		if err := r.list.Append(ctx, size.List, lines); err != nil {
			return err
		}
		size.List += int64(len(lines))
	}
	if len(payloads) > 0 {
		if lines, err = jsonLines(payloads); err != nil {
			return err
		}
		if lines, err = compressed(lines); err != nil {
			return err
		}
		if err := appendTo(r.payloads, size.Payloads, lines); err != nil {
			return err
		}
		size.Payloads += int64(len(lines))
	}
	if err := record(size); err != nil {
		return err
	}
	r.size = size
	return nil
}

func appendTo(file *os.File, at int64, content []byte) error {
	_, err := file.WriteAt(content, at)
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return hint.Add(fmt.Errorf("list rejected nodes: %w", err), hintRejects)
	}
	return nil
}

func jsonLines[T any](values []T) ([]byte, error) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, v := range values {
		if err := encoder.Encode(v); err != nil {
			return nil, fmt.Errorf("list rejected nodes: %w", err)
		}
	}
	return lines.Bytes(), nil
}

// compressed makes one zstd frame: frames that follow each other are one file.
func compressed(content []byte) ([]byte, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("compress rejected payloads: %w", err)
	}
	defer encoder.Close()
	return encoder.EncodeAll(content, nil), nil
}
