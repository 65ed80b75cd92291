package target

import "sync/atomic"

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
