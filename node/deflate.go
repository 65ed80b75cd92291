package node

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// errDeflate is a block that zlib refuses.
var errDeflate = errors.New("corrupt deflate block")

const (
	maxCodeBits = 15  // of a literal, length or distance code
	preCodeBits = 7   // of the code in which the code lengths are written
	maxLiterals = 286 // literals, the end of block, lengths
	maxDists    = 30
	endOfBlock  = 256
	corrupt     = 1 << 9 // no symbol
	repeatLast  = 16     // among the code lengths; 17 and 18 repeat zero
)

// isZlib says whether data starts as a zlib stream does that needs no
// dictionary (RFC 1950, 2.2).
//
// It also tells a stream from its base64 text: the text of any zlib stream
// starts with one of C G K O S W a e, for its first six bits are 0xxx10, and
// none of these characters has 8 for its low nibble. Only a text that starts
// with junk could pass, and of all ASCII junk only '(' has the nibble.
func isZlib(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	method, flags := data[0], data[1]
	const deflate, dictionary = 8, 0x20
	return method&0x0F == deflate && method>>4 <= 7 && flags&dictionary == 0 &&
		(uint(method)<<8|uint(flags))%31 == 0
}

// firstByte returns the first byte that the deflate stream inflates to,
// reading no further than that. It is io.EOF if the stream is empty,
// io.ErrUnexpectedEOF if it is cut short, errDeflate if it is corrupt.
//
// The libraries build full tables and fill their window of 32 KiB before they
// give away a byte: too much to do for each row.
func firstByte(stream []byte) (byte, error) {
	r := bitReader{in: stream}
	for {
		header := r.take(3)
		symbol := r.firstSymbol(header >> 1)
		switch {
		case r.short:
			return 0, io.ErrUnexpectedEOF
		case symbol < endOfBlock:
			return byte(symbol), nil
		case symbol > endOfBlock: // a copy, of which there is nothing yet
			return 0, errDeflate
		case header&1 == 1:
			return 0, io.EOF
		}
	}
}

// firstSymbol returns the first symbol of a block: a literal, endOfBlock, or
// anything greater if that is a length or the block is corrupt.
func (r *bitReader) firstSymbol(kind uint) uint {
	switch kind {
	case 0:
		return r.stored()
	case 1:
		return r.fixed()
	case 2:
		return r.dynamic()
	}
	return corrupt
}

// bitReader takes bits from in, lowest first, and zeros after its end. The bits
// above the lowest have ones are zero or those that come next.
type bitReader struct {
	in    []byte
	bits  uint64
	have  uint
	short bool // bits were taken after the end
}

// fill makes have at least 56, or all that the input still has.
func (r *bitReader) fill() {
	if len(r.in) >= 8 {
		r.bits |= binary.LittleEndian.Uint64(r.in) << r.have
		n := (63 - r.have) / 8
		r.in = r.in[n:]
		r.have += 8 * n
		return
	}
	for r.have < 56 && len(r.in) > 0 {
		r.bits |= uint64(r.in[0]) << r.have
		r.in = r.in[1:]
		r.have += 8
	}
}

// drop removes n bits that were filled in.
func (r *bitReader) drop(n uint) {
	if n > r.have {
		r.short = true
		n = r.have
	}
	r.bits >>= n
	r.have -= n
}

// left is how many bytes are still to come, all of them.
func (r *bitReader) left() int { return len(r.in) + int(r.have/8) }

// take removes n bits and returns them, n <= 32.
func (r *bitReader) take(n uint) uint {
	if n > r.have {
		r.fill()
	}
	value := uint(r.bits & (1<<n - 1))
	r.drop(n)
	return value
}

// stored returns the first symbol of a stored block.
func (r *bitReader) stored() uint {
	r.drop(r.have % 8)
	size, complement := uint16(r.take(16)), uint16(r.take(16))
	switch {
	case size != ^complement:
		return corrupt
	case size == 0:
		return endOfBlock
	}
	return r.take(8)
}

// fixed returns the first symbol of a block in the fixed code (RFC 1951,
// 3.2.6).
func (r *bitReader) fixed() uint {
	r.fill()
	code := uint(bits.Reverse16(uint16(r.bits)) >> 7) // nine bits, first one on top
	switch {
	case code>>2 < 0x18:
		r.drop(7)
		return endOfBlock + code>>2
	case code>>1 < 0xC0:
		r.drop(8)
		return code>>1 - 0x30
	case code>>1 < 0xC8:
		r.drop(8)
		return 280 + code>>1 - 0xC0
	}
	r.drop(9)
	return 144 + code - 0x190
}

// dynamic returns the first symbol of a block with a code of its own. What it
// refuses is what zlib's inflate refuses.
func (r *bitReader) dynamic() uint {
	var lengths [maxLiterals + maxDists]byte
	literals, dists, ok := r.lengths(&lengths)
	if !ok {
		return corrupt
	}
	if counts := countLengths(lengths[literals:][:dists]); !counts.isCode() {
		return corrupt
	}
	return r.symbol(lengths[:literals])
}

// lengths reads the lengths of a block's own codes, which are zero before: of so many
// literals, and of so many distances after them.
func (r *bitReader) lengths(into *[maxLiterals + maxDists]byte) (literals, dists uint, ok bool) {
	literals, dists = r.take(5)+257, r.take(5)+1
	preCodes := r.take(4) + 4
	var pre preCode
	if literals > maxLiterals || dists > maxDists || !pre.read(r, preCodes) {
		return 0, 0, false
	}
	return literals, dists, pre.expand(r, into[:literals+dists]) && into[endOfBlock] != 0
}

// symbol decodes one symbol of the canonical code that lengths make.
func (r *bitReader) symbol(lengths []byte) uint {
	counts := countLengths(lengths)
	if !counts.isCode() {
		return corrupt
	}
	r.fill()
	var code, first uint16 // the bits so far, the first code that is as long
	for length := 1; length <= maxCodeBits; length++ {
		code = code<<1 | uint16(r.bits>>(length-1)&1)
		if rank := code - first; rank < counts[length] {
			r.drop(uint(length))
			return nth(lengths, byte(length), rank)
		}
		first = (first + counts[length]) << 1
	}
	return corrupt
}

// nth returns the symbol that rank others of the same length precede.
func nth(lengths []byte, length byte, rank uint16) uint {
	for symbol, l := range lengths {
		if l != length {
			continue
		}
		if rank == 0 {
			return uint(symbol)
		}
		rank--
	}
	return corrupt
}

// lengthCounts has how many codes there are of each length in bits.
type lengthCounts [maxCodeBits + 1]uint16

// countLengths counts neighbours in different places: one count would have to
// wait for the one before it, as most neighbours are alike.
func countLengths(lengths []byte) (counts lengthCounts) {
	var apart [4]lengthCounts
	for i, length := range lengths {
		apart[i%len(apart)][length&maxCodeBits]++
	}
	for length := range counts {
		counts[length] = apart[0][length] + apart[1][length] + apart[2][length] + apart[3][length]
	}
	return counts
}

// isCode says whether zlib takes a literal or distance code with these counts:
// one that uses up all its code space, or has at most a single code, of one bit.
func (c *lengthCounts) isCode() bool {
	free, used := 1, 0
	for _, n := range c[1:] {
		free = 2*free - int(n)
		if free < 0 {
			return false
		}
		used += int(n)
	}
	return free == 0 || used == 0 || used == 1 && c[1] == 1
}

// preCode decodes the code lengths of a dynamic block: the entry for the next
// seven bits has a symbol above the symbol's length, in the lowest three bits.
type preCode [1 << preCodeBits]byte

// preCodeOrder is the order in which RFC 1951, 3.2.7 writes the lengths.
const preCodeOrder = "\x10\x11\x12\x00\x08\x07\x09\x06\x0A\x05\x0B\x04\x0C\x03\x0D\x02\x0E\x01\x0F"

// read reads the lengths of n symbols and builds the table. It returns false
// if they are not a code: zlib wants this one to use up all its space.
func (t *preCode) read(r *bitReader, n uint) bool {
	var lengths [len(preCodeOrder)]byte
	var next [preCodeBits + 2]int // after the lengths are read: a code, left-aligned in seven bits
	for _, symbol := range []byte(preCodeOrder[:n]) {
		length := r.take(3)
		lengths[symbol] = byte(length)
		if length > 0 {
			next[length+1] += len(t) >> length
		}
	}
	for length := range preCodeBits + 1 {
		next[length+1] += next[length]
	}
	if next[preCodeBits+1] != len(t) {
		return false
	}
	for symbol, length := range lengths {
		if length == 0 {
			continue
		}
		start := int(bits.Reverse8(uint8(next[length])) >> 1)
		for i := start; i < len(t); i += 1 << length {
			t[i] = byte(symbol)<<3 | length
		}
		next[length] += len(t) >> length
	}
	return true
}

// expand fills lengths, which are zero, with what comes next in r. It returns false if that
// repeats a length before there is one, or past the end.
func (t *preCode) expand(r *bitReader, lengths []byte) bool {
	for i := 0; i < len(lengths); {
		if r.have < 2*preCodeBits {
			r.fill()
		}
		entry := t[r.bits&(1<<preCodeBits-1)]
		r.drop(uint(entry & 7))
		symbol := entry >> 3
		if symbol <= maxCodeBits {
			lengths[i] = symbol
			i++
			continue
		}
		end := i + r.run(symbol)
		if end > len(lengths) || symbol == repeatLast && i == 0 {
			return false
		}
		for ; symbol == repeatLast && i < end; i++ {
			lengths[i] = lengths[i-1]
		}
		i = end // the other two repeat zero, which is there
	}
	return true
}

// run reads how often the symbols 16, 17 and 18 repeat a length.
func (r *bitReader) run(symbol byte) int {
	switch symbol {
	case repeatLast:
		return 3 + int(r.take(2))
	case 17:
		return 3 + int(r.take(3))
	}
	return 11 + int(r.take(7))
}
