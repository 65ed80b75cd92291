package node

import "encoding/binary"

// adler is the checksum of a zlib stream, RFC 1950, 8.2. The standard library's takes
// a byte at a time, this one eight.
type adler struct{ a, b uint64 }

const adlerBase = 65521

func (s *adler) add(data []byte) {
	const chunk = 1 << 16 // of which the sums fit into 64 bits by far
	for len(data) > 0 {
		part := data[:min(len(data), chunk)]
		data = data[len(part):]
		a, b := s.a, s.b
		for ; len(part) >= 8; part = part[8:] {
			const evenBytes, each = 0x00FF00FF00FF00FF, 0x0001000100010001
			eight := binary.LittleEndian.Uint64(part)
			even, odd := eight&evenBytes, eight>>8&evenBytes
			// The uppermost 16 bits of a product are the sum of four bytes, each times
			// how often it counts: 8, 6, 4, 2 and 7, 5, 3, 1 times.
			b += 8*a + even*0x0008000600040002>>48 + odd*0x0007000500030001>>48
			a += (even + odd) * each >> 48
		}
		for _, c := range part {
			a += uint64(c)
			b += a
		}
		s.a, s.b = a%adlerBase, b%adlerBase
	}
}

func (s *adler) value() uint32 { return uint32(s.b<<16 | s.a) }
