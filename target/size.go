package target

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

// sizes remembers which size of a request the cluster, or what stands before
// it, takes.
type sizes struct {
	limit atomic.Int64 // bytes of a body; 0: any
	taken atomic.Int64 // how many requests were
}

// refused makes the limit half of what was not taken.
func (s *sizes) refused(size int) { s.limit.Store(int64(size/2 + 1)) }

// passed raises the limit slowly when a request near it was taken.
func (s *sizes) passed(size int) {
	s.taken.Add(1)
	limit := s.limit.Load()
	if limit > 0 && int64(size) > limit/2 {
		s.limit.CompareAndSwap(limit, limit+limit/16)
	}
}

const (
	// smallBody is never made smaller because of memory or a broken connection.
	smallBody = 1 << 20
	// heavyTries is how often a body is refused for a cause that may be its size
	// before it is halved. The pauses between are six seconds together.
	heavyTries = 6
)

// heavy reports whether a request may be refused because of its size, though
// nobody says so: the server is short of memory, or the connection breaks.
func heavy(cause error) bool {
	refused, ok := errors.AsType[*Error](cause)
	if !ok {
		return !errors.Is(cause, errContested)
	}
	return refused.Type == "circuit_breaking_exception" || strings.Contains(refused.Reason, "operation_bytes=")
}

var pressure = regexp.MustCompile(`operation_bytes=(\d+), max_\w+=(\d+)`)

// beyond reports whether a reason says that a request is larger than what the
// server lets be under way altogether, so that it will never be taken.
func beyond(reason string) bool {
	found := pressure.FindStringSubmatch(reason)
	if found == nil {
		return false
	}
	size, err := strconv.ParseInt(found[1], 10, 64)
	limit, err2 := strconv.ParseInt(found[2], 10, 64)
	return err == nil && err2 == nil && size > limit
}

// groups divides a batch by the size that passes.
func (d *delivery) groups() (groups []group) {
	limit := int(d.target.sizes.limit.Load())
	var g group
	size := 0
	for i := range d.batch.Len() {
		of := d.batch.end(i) - d.batch.items[i].action
		if limit > 0 && size+of > limit && len(g.items) > 0 {
			groups, g, size = append(groups, g), group{}, 0
		}
		g.items, size = append(g.items, i), size+of
	}
	return append(groups, g)
}

// hopeless reports whether a heavy group is to be split: after some tries, and a
// single node, which is rejected then, after all of the patience, if other
// requests were taken meanwhile and it has not been stored without an answer.
func (d *delivery) hopeless(ctx context.Context, g group, b backoff, taken int64) bool {
	if len(g.items) > 1 {
		return b.tries >= heavyTries
	}
	if b.waited < d.target.patience || d.target.sizes.taken.Load() == taken {
		return false
	}
	path := "/" + url.PathEscape(d.index.Name) + "/_doc/" + url.PathEscape(d.batch.id(g.items[0])) + "?_source=false"
	return typeOf(d.target.ask(ctx, http.MethodGet, path, nil, nil)) == typeDocumentMissing
}

// split halves a group that was too large. A single node that is is rejected.
func (d *delivery) split(g group, size int) []group {
	d.target.sizes.refused(size)
	if len(g.items) == 1 {
		d.reject(g.items[0], ReasonTooLarge, "")
		return nil
	}
	middle := len(g.items) / 2
	return []group{{g.items[middle:], g.uncertain}, {g.items[:middle], g.uncertain}}
}
