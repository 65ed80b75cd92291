package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// ReasonTimestamp is the reason to reject a row whose timestamp is infinite or
// outside the years 1 to 9999: it belongs to no day.
const ReasonTimestamp node.Reason = "unbounded_timestamp"

// Rejected is a line of the file of rejected nodes.
type Rejected struct {
	ID        string      `json:"id"`
	Timestamp string      `json:"timestamp"` // ISO 8601, or as PostgreSQL writes one that belongs to no day
	Reason    node.Reason `json:"reason"`
	Detail    string      `json:"detail,omitempty"` // the target's words
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
}

// NewRejects goes on with a list. size is what the checkpoint knows of it.
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

// commit appends to the list and the file, durably, and calls record with their
// sizes, which has to put these into the checkpoint.
func (r *Rejects) commit(ctx context.Context, list []Rejected, payloads []rejectedPayload, record func(RejectsSize) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := r.size
	lines, err := jsonLines(list)
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
	if _, err := file.WriteAt(content, at); err != nil {
		return fmt.Errorf("list rejected nodes: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("list rejected nodes: %w", err)
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
