package node

import "testing"

// fixedLiteral and fixedDistance write a symbol of the fixed code, RFC 1951, 3.2.6.
func (w *bitWriter) fixedLiteral(symbol uint) {
	switch {
	case symbol < 144:
		w.code(0x30+symbol, 8)
	case symbol < 256:
		w.code(0x190+symbol-144, 9)
	case symbol < 280:
		w.code(symbol-256, 7)
	default:
		w.code(0xC0+symbol-280, 8)
	}
}

func (w *bitWriter) fixedDistance(symbol uint) { w.code(symbol, 5) }

// What no compressor writes, and what zlib makes of it.
func TestInflateOdd(t *testing.T) {
	t.Parallel()
	fixed := func(literals ...uint) func(*bitWriter) {
		return func(w *bitWriter) {
			w.put(1|1<<1, 3)
			for _, literal := range literals {
				w.fixedLiteral(literal)
			}
		}
	}
	distance := func(symbol uint) func(*bitWriter) {
		return func(w *bitWriter) {
			fixed('a', 'b', 'c', 257)(w)
			w.fixedDistance(symbol)
			w.fixedLiteral(endOfBlock)
		}
	}
	half := func(copies bool, symbols ...uint) func(*bitWriter) {
		return func(w *bitWriter) {
			w.put(0, 3)
			w.put(0, 5) // a stored block of one byte, to copy from
			w.out = append(w.out, "\x01\x00\xfe\xffa"...)
			literals := make([]byte, 258)
			literals[endOfBlock] = 1
			if copies {
				literals[257] = 1
			}
			w.dynamic(true, literals, []byte{1})
			for _, bit := range symbols {
				w.put(bit, 1)
			}
		}
	}
	many := func(literals, dists uint) func(*bitWriter) {
		return func(w *bitWriter) {
			lengths := [2][]byte{make([]byte, literals), make([]byte, dists)}
			lengths[0][endOfBlock], lengths[1][0] = 1, 1
			w.dynamic(true, lengths[0], lengths[1])
			w.put(0, 1)
		}
	}
	for _, test := range []struct {
		name  string
		write func(*bitWriter)
		taken bool
	}{
		{"literals", fixed('a', 0xff, endOfBlock), true},
		{"length 286", fixed('a', 286, endOfBlock), false},
		{"length 287", fixed('a', 287, endOfBlock), false},
		{"distance 3", distance(2), true},
		{"distance 4", distance(3), false},
		{"distance symbol 30", distance(30), false},
		{"distance symbol 31", distance(31), false},
		{"half a literal code", half(false, 0), true},
		{"half a literal code, its other half", half(false, 1, 0, 0, 0, 0, 0, 0, 0), false},
		{"half a distance code", half(true, 1, 0, 0), true},
		{"half a distance code, its other half", half(true, 1, 1, 0, 0, 0, 0, 0, 0), false},
		{"286 literals, 30 distances", many(286, 30), true},
		{"287 literals", many(287, 1), false},
		{"31 distances", many(257, 31), false},
		{"block of kind 3", func(w *bitWriter) { w.put(1|3<<1, 3); w.put(0, 60) }, false},
	} {
		var c comparison
		var w bitWriter
		test.write(&w)
		c.compare(t, append(w.bytes(), make([]byte, 8)...))
		if taken := c.taken == 1; taken != test.taken {
			t.Errorf("%s: taken is %v", test.name, taken)
		}
	}
}

// A copy from as far back as there is, right after the buffer of a stream that is not kept
// was moved.
func TestInflateFarthest(t *testing.T) {
	t.Parallel()
	var w bitWriter
	w.put(1|1<<1, 3)
	for _, b := range skewed(window) {
		w.fixedLiteral(uint(b))
	}
	for range 2 * passing / 3 {
		w.fixedLiteral(257) // three bytes
		w.fixedDistance(29)
		w.put(1<<13-1, 13)
	}
	w.fixedLiteral(endOfBlock)
	var c comparison
	if c.compare(t, w.bytes()); c.taken != 1 {
		t.Error("it is refused")
	}
}
