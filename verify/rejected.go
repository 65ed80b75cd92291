package verify

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// rejection is a version of a node that the migration listed as not copied.
type rejection struct {
	micros  int64
	reason  node.Reason
	bounded bool // its timestamp belongs to a day
}

// rejections are the rejected nodes by key, the latest version of each.
type rejections map[string]rejection

// key is a node's id. Rows of a view whose id is null have none, so that each
// timestamp of theirs is one of its own.
func (r rejections) key(id string, micros int64) string {
	if id != "" {
		return id
	}
	return "\x00" + strconv.FormatInt(micros, 10)
}

// readRejections reads the first size bytes of the migration's list.
func readRejections(path string, size int64) (rejections, error) {
	found := rejections{}
	if size == 0 {
		return found, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read list of rejected nodes: %w", err)
	}
	defer file.Close()
	decoder := json.NewDecoder(bufio.NewReader(io.LimitReader(file, size)))
	for {
		var line struct {
			ID        string      `json:"id"`
			Timestamp string      `json:"timestamp"`
			Reason    node.Reason `json:"reason"`
			Retried   bool        `json:"retried"`
		}
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read list of rejected nodes %s: %w", path, err)
		}
		r := rejection{reason: line.Reason}
		if t, err := time.Parse(time.RFC3339Nano, line.Timestamp); err == nil {
			r.micros, r.bounded = t.UnixMicro(), true
		}
		k := found.key(line.ID, r.micros)
		switch {
		case !line.Retried:
			found[k] = r
		case found[k].micros == r.micros: // not rejected any more
			delete(found, k)
		}
	}
}

// has says whether this very version of a node was rejected. A row that Sentry
// has rewritten since is a node like any other.
func (r rejections) has(id []byte, micros int64) bool {
	known, ok := r[r.key(string(id), micros)]
	return ok && known.bounded && known.micros == micros
}
