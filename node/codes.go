package node

import "math/bits"

// An entry of a table tells what the next bits are: in bits 0 to 5 how many of them
// the code takes, in bits 8 to 11 how many extra bits follow it, in bits 16 to 31 the
// literal or what the extra bits are added to, and between them what it is. A code
// that is longer than the main table's index leads to another table: where it begins,
// and how many bits it is indexed by.
const (
	isLiteral = 1 << 12
	isLonger  = 1 << 13
	isOther   = 1 << 14 // the end of the block, or with other bits on top no code at all

	noCode = isOther | 1<<16

	// Of the bits that index a main table: eleven and eight are what libdeflate takes.
	literalBits  = 11
	distanceBits = 8
)

type (
	literalTable struct {
		main   [1 << literalBits]uint32
		longer []uint32
	}
	distanceTable struct {
		main   [1 << distanceBits]uint32
		longer []uint32
	}
)

// build makes the table of the code that lengths are of. It returns false if they are
// not a code that zlib takes.
func (t *literalTable) build(lengths []byte) (ok bool) {
	t.longer, ok = fill(t.main[:], t.longer[:0], literalBits, lengths, &literalEntries)
	return ok
}

func (t *distanceTable) build(lengths []byte) (ok bool) {
	t.longer, ok = fill(t.main[:], t.longer[:0], distanceBits, lengths, &distanceEntries)
	return ok
}

// fill makes a table for codes of these lengths in bits, one for each symbol, whose
// entries have no lengths yet. longer is appended to.
func fill(main, longer []uint32, index uint, lengths []byte, entries *[288]uint32) ([]uint32, bool) {
	counts := countLengths(lengths)
	if !counts.isCode() {
		return longer, false
	}
	// Symbols in the order of their codes, by the number of shorter ones.
	var order [288]uint16
	var next [maxCodeBits + 2]uint16
	for length := 1; length <= maxCodeBits; length++ {
		next[length+1] = next[length] + counts[length]
	}
	coded := int(next[maxCodeBits+1])
	for symbol, length := range lengths {
		if length > 0 {
			order[next[length]] = uint16(symbol)
			next[length]++
		}
	}
	main[0], main[1] = noCode, noCode
	// The table doubles with each length: what is shorter repeats.
	code, i := uint16(0), 0
	for length := uint(1); length <= index; length++ {
		for range counts[length] {
			at := bits.Reverse16(code) >> (16 - length)
			main[at] = entries[order[i]] | uint32(length)
			code++
			i++
		}
		code <<= 1
		if length < index {
			copy(main[1<<length:2<<length], main[:1<<length])
		}
	}
	return fillLonger(main, longer, index, order[i:coded], lengths, entries, &counts, code)
}

// fillLonger adds the codes that are longer than a main table's index: code is the
// first of them, in one bit more.
func fillLonger(main, longer []uint32, index uint, order []uint16, lengths []byte, entries *[288]uint32, counts *lengthCounts, code uint16) ([]uint32, bool) {
	prefix, begin, more := -1, 0, uint(0)
	left := *counts
	length := index + 1
	for _, symbol := range order {
		for ; length < uint(lengths[symbol]); length++ {
			code <<= 1
		}
		reversed := int(bits.Reverse16(code) >> (16 - length))
		if at := reversed & (1<<index - 1); at != prefix {
			prefix, begin, more = at, len(longer), length-index
			// As many bits as it takes until the codes of this prefix are used up.
			for free := 1 << more; ; free <<= 1 {
				free -= int(left[index+more])
				if free <= 0 || index+more == maxCodeBits {
					break
				}
				more++
			}
			for range 1 << more {
				longer = append(longer, noCode)
			}
			main[at] = isLonger | uint32(begin)<<16 | uint32(more)<<8
		}
		for at := reversed >> index; at < 1<<more; at += 1 << (length - index) {
			longer[begin+at] = entries[symbol] | uint32(length)
		}
		left[length]--
		code++
	}
	return longer, true
}

// literalEntries and distanceEntries are RFC 1951's symbols, 3.2.5.
var (
	literalEntries = func() (entries [288]uint32) {
		for literal := range uint32(endOfBlock) {
			entries[literal] = isLiteral | literal<<16
		}
		entries[endOfBlock] = isOther
		base := uint32(3)
		for symbol := 257; symbol < 285; symbol++ {
			extra := uint32(max(symbol-261, 0) / 4)
			entries[symbol] = extra<<8 | base<<16
			base += 1 << extra
		}
		entries[285] = maxMatch << 16
		entries[286], entries[287] = noCode, noCode
		return entries
	}()
	distanceEntries = func() (entries [288]uint32) {
		base := uint32(1)
		for symbol := range maxDists {
			extra := uint32(max(symbol-2, 0) / 2)
			entries[symbol] = extra<<8 | base<<16
			base += 1 << extra
		}
		entries[30], entries[31] = noCode, noCode
		return entries
	}()
)

// The fixed code, RFC 1951, 3.2.6.
var (
	fixedLiterals = func() (lengths [288]byte) {
		for symbol := range lengths {
			switch {
			case symbol < 144:
				lengths[symbol] = 8
			case symbol < 256:
				lengths[symbol] = 9
			case symbol < 280:
				lengths[symbol] = 7
			default:
				lengths[symbol] = 8
			}
		}
		return lengths
	}()
	fixedDistances = func() (lengths [32]byte) {
		for symbol := range lengths {
			lengths[symbol] = 5
		}
		return lengths
	}()
)
