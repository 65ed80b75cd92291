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
		header, err := r.take(3)
		if err != nil {
			return 0, err
		}
		var symbol uint
		switch header >> 1 {
		case 0:
			symbol, err = r.stored()
		case 1:
			symbol, err = r.fixed()
		case 2:
			symbol, err = r.dynamic()
		default:
			err = errDeflate
		}
		switch {
		case err != nil:
			return 0, err
		case symbol < endOfBlock:
			return byte(symbol), nil
		case symbol > endOfBlock: // a copy, of which there is nothing yet
			return 0, errDeflate
		case header&1 == 1:
			return 0, io.EOF
		}
	}
}

// bitReader takes bits from in, lowest first. The bits above the lowest have
// ones are either zero or those that come next in the input.
type bitReader struct {
	in   []byte
	bits uint64
	have uint
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

// drop removes n bits, n <= 32.
func (r *bitReader) drop(n uint) error {
	if n > r.have {
		r.fill()
		if n > r.have {
			return io.ErrUnexpectedEOF
		}
	}
	r.bits >>= n
	r.have -= n
	return nil
}

// take removes n bits and returns them, n <= 32.
func (r *bitReader) take(n uint) (uint, error) {
	if n > r.have {
		r.fill()
	}
	value := uint(r.bits & (1<<n - 1))
	return value, r.drop(n)
}

// stored returns the first symbol of a stored block.
func (r *bitReader) stored() (uint, error) {
	if err := r.drop(r.have % 8); err != nil {
		return 0, err
	}
	sizes, err := r.take(32)
	if err != nil {
		return 0, err
	}
	size := uint16(sizes)
	if size != ^uint16(sizes>>16) {
		return 0, errDeflate
	}
	if size == 0 {
		return endOfBlock, nil
	}
	return r.take(8)
}

// fixed returns the first symbol of a block in the fixed code (RFC 1951,
// 3.2.6).
func (r *bitReader) fixed() (uint, error) {
	r.fill()
	code := uint(bits.Reverse16(uint16(r.bits)) >> 7) // nine bits, first one on top
	switch {
	case code < 1<<2:
		return endOfBlock, r.drop(7)
	case code>>1 >= 0x30 && code>>1 < 0xC0:
		return code>>1 - 0x30, r.drop(8)
	case code >= 0x190:
		return code - 0x190 + 144, r.drop(9)
	}
	return 0, errDeflate // a length
}

// dynamic returns the first symbol of a block with a code of its own. What it
// refuses is what zlib's inflate refuses.
func (r *bitReader) dynamic() (uint, error) {
	sizes, err := r.take(14)
	if err != nil {
		return 0, err
	}
	literals, dists, preCodes := sizes&31+257, sizes>>5&31+1, sizes>>10+4
	if literals > maxLiterals || dists > maxDists {
		return 0, errDeflate
	}
	var pre preCode
	if err := pre.read(r, preCodes); err != nil {
		return 0, err
	}
	var lengths [maxLiterals + maxDists]byte
	if err := pre.expand(r, lengths[:literals+dists]); err != nil {
		return 0, err
	}
	if lengths[endOfBlock] == 0 {
		return 0, errDeflate
	}
	if !isCode(countLengths(lengths[literals:][:dists])) {
		return 0, errDeflate
	}
	return r.symbol(lengths[:literals])
}

// lengthCounts has how many codes there are of each length in bits.
type lengthCounts [maxCodeBits + 1]uint16

func countLengths(lengths []byte) (counts lengthCounts) {
	for _, length := range lengths {
		counts[length&maxCodeBits]++
	}
	return counts
}

// isCode says whether zlib takes a literal or distance code with these counts:
// one that uses up all its code space, or has at most a single code, of one bit.
func isCode(counts lengthCounts) bool {
	free, used := 1, 0
	for _, n := range counts[1:] {
		free = 2*free - int(n)
		if free < 0 {
			return false
		}
		used += int(n)
	}
	return free == 0 || used == 0 || used == 1 && counts[1] == 1
}

// symbol decodes one symbol of the canonical code that lengths make.
func (r *bitReader) symbol(lengths []byte) (uint, error) {
	counts := countLengths(lengths)
	if !isCode(counts) {
		return 0, errDeflate
	}
	r.fill()
	var code, first uint16 // the bits so far, the first code that is as long
	for length := 1; length <= maxCodeBits; length++ {
		code = code<<1 | uint16(r.bits>>(length-1)&1)
		if rank := code - first; rank < counts[length] {
			return nth(lengths, byte(length), rank), r.drop(uint(length))
		}
		first = (first + counts[length]) << 1
	}
	return 0, errDeflate
}

// nth returns the symbol that is preceded by rank others of the same length.
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
	return endOfBlock + 1 // not reached: rank is below the count
}

// preCode decodes the code lengths of a dynamic block: an entry for each seven
// bits has the symbol above its length in the lowest three bits.
type preCode [1 << preCodeBits]byte

// preCodeOrder is the order in which RFC 1951, 3.2.7 writes the lengths.
const preCodeOrder = "\x10\x11\x12\x00\x08\x07\x09\x06\x0A\x05\x0B\x04\x0C\x03\x0D\x02\x0E\x01\x0F"

// read reads the lengths of n symbols and builds the table. zlib wants this
// code to use up all its space.
func (t *preCode) read(r *bitReader, n uint) error {
	var lengths [len(preCodeOrder)]byte
	for i := range n {
		length, err := r.take(3)
		if err != nil {
			return err
		}
		lengths[preCodeOrder[i]] = byte(length)
	}
	code := 0 // left-aligned in seven bits
	for length := 1; length <= preCodeBits; length++ {
		for symbol, l := range lengths {
			if int(l) != length {
				continue
			}
			if code >= len(t) {
				return errDeflate
			}
			start := int(bits.Reverse8(uint8(code)) >> 1)
			for i := start; i < len(t); i += 1 << length {
				t[i] = byte(symbol<<3 | length)
			}
			code += len(t) >> length
		}
	}
	if code != len(t) {
		return errDeflate
	}
	return nil
}

// expand fills lengths with what comes next in r.
func (t *preCode) expand(r *bitReader, lengths []byte) error {
	for i := 0; i < len(lengths); {
		r.fill()
		entry := t[r.bits&(1<<preCodeBits-1)]
		if err := r.drop(uint(entry & 7)); err != nil {
			return err
		}
		symbol := entry >> 3
		if symbol <= maxCodeBits {
			lengths[i] = symbol
			i++
			continue
		}
		var value byte
		if symbol == 16 {
			if i == 0 {
				return errDeflate
			}
			value = lengths[i-1]
		}
		run, err := r.run(symbol)
		if err != nil {
			return err
		}
		if i+run > len(lengths) {
			return errDeflate
		}
		for range run {
			lengths[i] = value
			i++
		}
	}
	return nil
}

// run reads how often the symbols 16, 17 and 18 repeat a length.
func (r *bitReader) run(symbol byte) (int, error) {
	extra, least := uint(2), 3
	switch symbol {
	case 17:
		extra = 3
	case 18:
		extra, least = 7, 11
	}
	n, err := r.take(extra)
	return least + int(n), err
}
