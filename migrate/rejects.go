package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

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

// RejectsSize is how much of the files counts: what a crashed run wrote behind
// it is cut off by the next one, so that no node is listed twice.
type RejectsSize struct{ List, Payloads int64 }

// Rejects are the files that tell of the rejected nodes: a list, one JSON
// object a line, without payloads; and, only if asked for, their payloads,
// compressed with zstd. Nobody but the owner may read either.
type Rejects struct {
	mu       sync.Mutex // held while files and checkpoint are brought in step
	list     *os.File
	payloads *os.File // nil: not asked for
	size     RejectsSize
}

// OpenRejects opens the list at path and, unless payloadPath is empty, the file
// of payloads. size is what the checkpoint knows of them.
func OpenRejects(path, payloadPath string, size RejectsSize) (*Rejects, error) {
	list, err := openAt(path, size.List)
	if err != nil {
		return nil, err
	}
	r := &Rejects{list: list, size: size}
	if payloadPath == "" {
		return r, nil
	}
	if r.payloads, err = openAt(payloadPath, size.Payloads); err != nil {
		return nil, errors.Join(err, list.Close())
	}
	return r, nil
}

func openAt(path string, size int64) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open file of rejected nodes: %w", err)
	}
	info, err := file.Stat()
	if err == nil && info.Size() < size {
		err = fmt.Errorf("%s has %d bytes where the checkpoint knows of %d: put the file back", path, info.Size(), size)
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
func (r *Rejects) Path() string { return r.list.Name() }

// Close closes the files.
func (r *Rejects) Close() error {
	err := r.list.Close()
	if r.payloads != nil {
		err = errors.Join(err, r.payloads.Close())
	}
	return err
}

// commit appends to the files, makes them durable, and calls record with their
// sizes, which has to put these into the checkpoint.
func (r *Rejects) commit(list []Rejected, payloads []rejectedPayload, record func(RejectsSize) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := r.size
	lines, err := jsonLines(list)
	if err != nil {
		return err
	}
	if size.List, err = appendTo(r.list, size.List, lines); err != nil {
		return err
	}
	if len(payloads) > 0 {
		if lines, err = jsonLines(payloads); err != nil {
			return err
		}
		if lines, err = compressed(lines); err != nil {
			return err
		}
		if size.Payloads, err = appendTo(r.payloads, size.Payloads, lines); err != nil {
			return err
		}
	}
	if err := record(size); err != nil {
		return err
	}
	r.size = size
	return nil
}

func appendTo(file *os.File, at int64, content []byte) (int64, error) {
	if _, err := file.WriteAt(content, at); err != nil {
		return at, fmt.Errorf("list rejected nodes: %w", err)
	}
	if err := file.Sync(); err != nil {
		return at, fmt.Errorf("list rejected nodes: %w", err)
	}
	return at + int64(len(content)), nil
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
