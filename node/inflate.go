package node

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

var (
	errHeader   = errors.New("not a zlib stream")
	errChecksum = errors.New("the zlib stream's checksum is another")
	errTooLarge = errors.New("inner bytes exceed 1 GiB") // of a payload: see maxInner
)

const (
	window   = 32 << 10
	maxMatch = 258
	// slack is room for what one step of inflating writes: three literals, a match,
	// and what its copy in steps of eight bytes writes beyond it.
	slack = 3 + maxMatch + 8
	// passing is the buffer of a stream that nobody keeps: a window and what comes next.
	passing = 4 * window
)

// inflater inflates one zlib stream after the other, whose bytes are all there: that
// is what makes it faster than the libraries, which read from an io.Reader. It takes
// what zlib's inflate takes.
type inflater struct {
	src  []byte // the deflate stream and what follows it
	r    bitReader
	lits literalTable
	dist distanceTable

	out   []byte // all of it may be written
	end   int    // of what is inflated
	start int    // of this stream's bytes: nothing before them is copied
	limit int    // of these bytes; 0: they are not kept
	sum   adler
	sent  int  // of out: the sum has what is before
	first int  // inflated byte, -1 before there is one
	fixed bool // the tables are those of the fixed code
}

// appendInflated appends what the whole stream inflates to, at most limit bytes.
func (z *inflater) appendInflated(dst, stream []byte, limit int) ([]byte, error) {
	z.out, z.start, z.limit = dst[:cap(dst)], len(dst), limit
	_, err := z.inflate(stream)
	out := z.out[:z.end]
	z.out = nil
	return out, err
}

// pass inflates a stream, of which nothing is kept in buffer but its window. It returns the stream's size
// without what follows it, and the first inflated byte, -1 if there is none.
func (z *inflater) pass(buffer, stream []byte) (size, first int, err error) {
	z.out, z.start, z.limit = buffer, 0, 0
	size, err = z.inflate(stream)
	z.out = nil
	return size, z.first, err
}

func (z *inflater) inflate(stream []byte) (size int, err error) {
	z.end, z.sent, z.sum, z.first = z.start, z.start, adler{a: 1}, -1
	if !isZlib(stream) {
		return 0, errHeader
	}
	z.src = stream[2:]
	z.r = bitReader{in: z.src}
	for last := false; !last; {
		header := z.r.take(3)
		last = header&1 == 1
		if err := z.block(header >> 1); err != nil {
			return 0, err
		}
		if z.r.short {
			return 0, io.ErrUnexpectedEOF
		}
	}
	z.account()
	z.r.drop(z.r.have % 8)
	var sum uint32
	for range 4 {
		sum = sum<<8 | uint32(z.r.take(8))
	}
	switch {
	case z.r.short:
		return 0, io.ErrUnexpectedEOF
	case sum != z.sum.value():
		return 0, errChecksum
	}
	if z.limit > 0 && z.end-z.start > z.limit {
		return 0, errTooLarge
	}
	return len(stream) - z.r.left(), nil
}

func (z *inflater) block(kind uint) error {
	switch kind {
	case 0:
		return z.copyStored()
	case 1:
		if !z.fixed {
			z.fixed = z.lits.build(fixedLiterals[:]) && z.dist.build(fixedDistances[:])
		}
		return z.symbols()
	case 2:
		var lengths [maxLiterals + maxDists]byte
		literals, dists, ok := z.r.lengths(&lengths)
		z.fixed = false
		if !ok || !z.lits.build(lengths[:literals]) || !z.dist.build(lengths[literals:][:dists]) {
			return errDeflate
		}
		return z.symbols()
	}
	return errDeflate
}

// account adds what is new to the sum.
func (z *inflater) account() {
	if z.first < 0 && z.end > z.sent {
		z.first = int(z.out[z.sent])
	}
	z.sum.add(z.out[z.sent:z.end])
	z.sent = z.end
}

// room makes room for another step at the end of out.
func (z *inflater) room() error {
	if z.limit == 0 {
		z.account()
		z.end = copy(z.out, z.out[max(z.end-window, 0):z.end])
		z.sent = z.end
		return nil
	}
	size := z.end - z.start
	if size > z.limit {
		return errTooLarge
	}
	z.out = slices.Grow(z.out[:z.end], max(size/2, 4<<10))
	z.out = z.out[:cap(z.out)]
	return nil
}

func (z *inflater) copyStored() error {
	z.r.drop(z.r.have % 8)
	size, complement := uint16(z.r.take(16)), uint16(z.r.take(16))
	if size != ^complement {
		return errDeflate
	}
	in := z.src[len(z.src)-z.r.left():]
	if int(size) > len(in) {
		return io.ErrUnexpectedEOF
	}
	z.r, in = bitReader{in: in[size:]}, in[:size]
	for len(in) > 0 {
		if len(z.out)-z.end <= slack {
			if err := z.room(); err != nil {
				return err
			}
		}
		n := copy(z.out[z.end:len(z.out)-slack], in)
		z.end += n
		in = in[n:]
	}
	return nil
}

// symbols inflates the symbols of a block in the tables' codes.
func (z *inflater) symbols() error {
	for {
		if len(z.out)-z.end <= slack {
			if err := z.room(); err != nil {
				return err
			}
		}
		ended, err := z.run()
		if ended || err != nil {
			return err
		}
		if z.r.short {
			return io.ErrUnexpectedEOF
		}
	}
}

// run inflates symbols until the block ends, out is full, or the stream is short.
// All it works with is in local variables, which stay in registers: that is why it is
// one function.
func (z *inflater) run() (ended bool, err error) {
	in, b, have := z.r.in, z.r.bits, z.r.have
	out, end, start := z.out, z.end, z.start
	lits, dist := &z.lits, &z.dist
	for end < len(out)-slack {
		if len(in) >= 8 {
			b |= binary.LittleEndian.Uint64(in) << (have & 63)
			in = in[(63-have)>>3&7:]
			have |= 56
		} else {
			for ; have < 56 && len(in) > 0; have += 8 {
				b |= uint64(in[0]) << (have & 63)
				in = in[1:]
			}
		}
		// Three literals of the main table and a longer symbol take 3 x 11 + 15 bits.
		e := lits.main[b%uint64(len(lits.main))]
		for n := 0; n < 3 && e&isLiteral != 0; n++ {
			b, have = b>>(e&63), have-uint(e&63)
			out[end] = byte(e >> 16)
			end++
			e = lits.main[b%uint64(len(lits.main))]
		}
		if e&isLonger != 0 {
			e = lits.longer[int(e>>16)+int(b>>literalBits)&(1<<(e>>8&15)-1)]
		}
		b, have = b>>(e&63), have-uint(e&63)
		if e&isLiteral != 0 {
			out[end] = byte(e >> 16)
			end++
			continue
		}
		if e&isOther != 0 {
			if e>>16 == 0 || have > 63 {
				ended = have <= 63
				break
			}
			return false, errDeflate
		}
		length := int(e>>16) + int(b&(1<<(e>>8&15)-1))
		b, have = b>>(e>>8&15), have-uint(e>>8&15)
		if have < 28 { // a distance takes 15 + 13 bits
			if len(in) >= 8 {
				b |= binary.LittleEndian.Uint64(in) << (have & 63)
				in = in[(63-have)>>3&7:]
				have |= 56
			} else if have <= 63 {
				for ; have < 56 && len(in) > 0; have += 8 {
					b |= uint64(in[0]) << (have & 63)
					in = in[1:]
				}
			}
		}
		e = dist.main[b%uint64(len(dist.main))]
		if e&isLonger != 0 {
			e = dist.longer[int(e>>16)+int(b>>distanceBits)&(1<<(e>>8&15)-1)]
		}
		b, have = b>>(e&63), have-uint(e&63)
		if have > 63 {
			break
		}
		distance := int(e>>16) + int(b&(1<<(e>>8&15)-1))
		b, have = b>>(e>>8&15), have-uint(e>>8&15)
		if e&isOther != 0 || distance > end-start {
			return false, errDeflate
		}
		if distance >= 8 {
			to, from := out[end:end+length+8], out[end-distance:]
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
			}
			end += length
			continue
		}
		for stop := end + length; end < stop; end++ {
			out[end] = out[end-distance]
		}
	}
	z.end = end
	z.r = bitReader{in: in, bits: b, have: have, short: have > 63}
	if z.r.short {
		z.r.bits, z.r.have = 0, 0
	}
	return ended, nil
}
