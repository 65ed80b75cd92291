package node

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// bitWriter writes bits as deflate has them, lowest first.
type bitWriter struct {
	out  []byte
	bits uint64
	have uint
}

func (w *bitWriter) put(value, n uint) {
	w.bits |= uint64(value&(1<<n-1)) << w.have
	for w.have += n; w.have >= 8; w.have -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

func (w *bitWriter) bytes() []byte {
	if w.have > 0 {
		return append(w.out, byte(w.bits))
	}
	return w.out
}

// code writes a code, whose highest bit comes first.
func (w *bitWriter) code(code, n uint) { w.put(bits.Reverse(code)>>(bits.UintSize-n), n) }

// dynamic writes the header of a block in codes of its own, with four bits for each of their
// lengths.
func (w *bitWriter) dynamic(last bool, literals, dists []byte) {
	header := uint(2) << 1
	if last {
		header |= 1
	}
	w.put(header, 3)
	w.put(uint(len(literals))-257, 5)
	w.put(uint(len(dists))-1, 5)
	w.put(uint(len(preCodeOrder))-4, 4)
	for _, symbol := range []byte(preCodeOrder) {
		if symbol <= maxCodeBits {
			w.put(4, 3)
		} else {
			w.put(0, 3) // nothing is repeated
		}
	}
	for _, length := range append(literals, dists...) {
		w.code(uint(length), 4)
	}
}

// madeCode is a code that some compressor could make.
type madeCode struct {
	lengths []byte // in bits, of each symbol; 0: it has none
	codes   []uint // as they are written
}

// makeCode makes a code of so many of the symbols, one of them must, all space used up. Compressors
// seldom write codes as deep as it likes them.
func makeCode(rng *rand.Rand, symbols, used, must int) madeCode {
	leaves := []byte{0}
	for len(leaves) < used {
		at := len(leaves) - 1 // the deepest, mostly
		if leaves[at] == maxCodeBits || rng.IntN(3) == 0 {
			if at = rng.IntN(len(leaves)); leaves[at] == maxCodeBits {
				continue
			}
		}
		leaves[at]++
		leaves = append(leaves, leaves[at])
	}
	if used == 1 {
		leaves[0] = 1 // half a code, which zlib takes
	}
	c := madeCode{lengths: make([]byte, symbols), codes: make([]uint, symbols)}
	rng.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	c.lengths[must] = leaves[0]
	for _, symbol := range rng.Perm(symbols) {
		if len(leaves) > 1 && symbol != must {
			leaves = leaves[1:]
			c.lengths[symbol] = leaves[0]
		}
	}
	code := uint(0)
	for length := byte(1); length <= maxCodeBits; length++ {
		for symbol, l := range c.lengths {
			if l == length {
				c.codes[symbol] = uint(bits.Reverse16(uint16(code)) >> (16 - length))
				code++
			}
		}
		code <<= 1
	}
	return c
}

func (c *madeCode) write(w *bitWriter, symbol int) { w.put(c.codes[symbol], uint(c.lengths[symbol])) }

// any returns one of the symbols that have a code.
func (c *madeCode) any(rng *rand.Rand) int {
	for {
		if symbol := rng.IntN(len(c.lengths)); c.lengths[symbol] > 0 {
			return symbol
		}
	}
}

// writeBlock writes a block of so many random symbols in codes of its own. It returns size,
// how much the stream inflates to, with what the block adds.
func writeBlock(w *bitWriter, rng *rand.Rand, last bool, symbols, size int) int {
	literals := makeCode(rng, maxLiterals, 1+rng.IntN(maxLiterals), endOfBlock)
	dists := makeCode(rng, maxDists, 1+rng.IntN(maxDists), rng.IntN(4))
	w.dynamic(last, literals.lengths, dists.lengths)
	for range symbols {
		size += writeSymbol(w, rng, &literals, &dists, size)
	}
	literals.write(w, endOfBlock)
	return size
}

// writeSymbol writes a literal or a copy, seldom from before the first of size bytes. It
// returns how many bytes that inflates to.
func writeSymbol(w *bitWriter, rng *rand.Rand, literals, dists *madeCode, size int) int {
	symbol, dist := literals.any(rng), dists.any(rng)
	if symbol == endOfBlock {
		return 0
	}
	if symbol < endOfBlock {
		literals.write(w, symbol)
		return 1
	}
	length, distance := literalEntries[symbol], distanceEntries[dist]
	more, back := rng.UintN(1<<(length>>8&15)), rng.UintN(1<<(distance>>8&15))
	if int(distance>>16)+int(back) > size && rng.IntN(10_000) > 0 {
		return 0
	}
	literals.write(w, symbol)
	w.put(more, uint(length>>8&15))
	dists.write(w, dist)
	w.put(back, uint(distance>>8&15))
	return int(length>>16) + int(more)
}

// Codes of all depths and kinds, which compressors seldom write: whole, cut, and with bits
// that are flipped.
func TestInflateMadeCodes(t *testing.T) {
	t.Parallel()
	var c comparison
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		blocks := rapid.IntRange(1, 4).Draw(t, "blocks")
		var w bitWriter
		size := 0
		for i := range blocks {
			size = writeBlock(&w, rng, i == blocks-1, rng.IntN(3000), size)
		}
		stream := append(w.bytes(), "after"...)
		c.compare(t, stream)
		c.compare(t, stream[:rapid.IntRange(0, len(stream)-1).Draw(t, "cut")])
		stream[rng.IntN(len(stream))] ^= 1 << rng.IntN(8)
		c.compare(t, stream)
	})
	if c.taken < c.compared/3 || c.taken == c.compared {
		t.Errorf("%d of %d streams are whole, want a third and more, but not all", c.taken, c.compared)
	}
}
