package node

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

var (
	errNotASCII = errors.New("a character outside ASCII")
	errLength   = errors.New("number of data characters is 1 more than a multiple of 4")
	errPadding  = errors.New("incorrect padding")
)

// isCanonical says whether text is RFC 4648 base64 as Python and PostgreSQL
// write it: alphabet only, whole quads, padding only at the end. The unused
// bits before the padding are not looked at, for no reader looks at them.
func isCanonical(text []byte) bool {
	n := len(text)
	if n == 0 || n%4 != 0 {
		return false
	}
	if text[n-1] == '=' {
		n--
	}
	if text[n-1] == '=' {
		n--
	}
	return inAlphabet(text[:n])
}

// inAlphabet says whether text has only letters, digits, + and /. It runs over
// every byte that is migrated, so it takes eight bytes for a number; and four
// numbers at a time, for which the compiler loads the constants once.
func inAlphabet(text []byte) bool {
	var bad uint64
	for ; len(text) >= 32; text = text[32:] {
		words := text[:32:32]
		bad |= outside(binary.LittleEndian.Uint64(words)) |
			outside(binary.LittleEndian.Uint64(words[8:])) |
			outside(binary.LittleEndian.Uint64(words[16:])) |
			outside(binary.LittleEndian.Uint64(words[24:]))
	}
	for ; len(text) >= 8; text = text[8:] {
		bad |= outside(binary.LittleEndian.Uint64(text))
	}
	last := [8]byte{'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'}
	copy(last[:], text)
	bad |= outside(binary.LittleEndian.Uint64(last[:]))
	return bad&(0x80*eachByte) == 0
}

// eachByte times a byte repeats it in each byte of a word.
const eachByte = 0x0101010101010101

// outside sets the top bit of each byte of word that is not in base64's
// alphabet; the other bits mean nothing. A byte b < 0x80 plus 0x80-limit has
// its top bit set from b = limit on, so two sums xored are a range. A byte
// above 0x7F may carry into its neighbour, but reports itself, and one report
// is enough to refuse.
func outside(word uint64) uint64 {
	folded := word | 0x20*eachByte
	letter := (folded + (0x80-'a')*eachByte) ^ (folded + (0x80-'z'-1)*eachByte)
	digit := (word + (0x80-'/')*eachByte) ^ (word + (0x80-'9'-1)*eachByte) // '/' stands just before '0'
	notPlus := (word ^ '+'*eachByte) + 0x7F*eachByte
	return notPlus&^(letter^digit) | word
}

// sextets maps base64's alphabet to its values, all other bytes to notSextet.
var sextets = func() (table [256]byte) {
	for i := range table {
		table[i] = notSextet
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for value, char := range []byte(alphabet) {
		table[char] = byte(value)
	}
	return table
}()

const notSextet = 0xFF

// appendUnwrapped appends text without its newlines. A view over a bytea column
// has one after every 76 characters, as PostgreSQL's encode puts them.
func appendUnwrapped(dst, text []byte) []byte {
	for {
		line, rest, found := bytes.Cut(text, []byte{'\n'})
		dst = append(dst, line...)
		if !found {
			return dst
		}
		text = rest
	}
}

// appendDecoded decodes text as appendLenient does, canonical text faster.
func appendDecoded(dst, text []byte) ([]byte, error) {
	if isCanonical(text) {
		return base64.StdEncoding.AppendDecode(dst, text)
	}
	return appendLenient(dst, text)
}

// appendLenient decodes text as CPython's base64.b64decode(str) does with
// validate=False, and appends the bytes to dst. Characters outside the
// alphabet are skipped. A pad ends the text once it completes a quad of which
// two or more characters were seen; every other pad is skipped, and forgotten
// at the next data character. CPython refuses a str with a character outside
// ASCII before it decodes anything, so it is refused here wherever it is.
func appendLenient(dst, text []byte) ([]byte, error) {
	for _, char := range text {
		if char >= 0x80 {
			return dst, errNotASCII
		}
	}
	var quad uint32
	var chars, pads int
	for _, char := range text {
		if char == '=' && chars >= 2 {
			pads++
			if chars+pads >= 4 {
				return appendPartial(dst, quad, chars), nil
			}
			continue
		}
		value := sextets[char]
		if value == notSextet {
			continue
		}
		pads = 0
		quad = quad<<6 | uint32(value)
		chars++
		if chars == 4 {
			dst = append(dst, byte(quad>>16), byte(quad>>8), byte(quad))
			quad, chars = 0, 0
		}
	}
	switch chars {
	case 0:
		return dst, nil
	case 1:
		return dst, errLength
	}
	return dst, errPadding
}

// appendPartial appends the whole bytes of a quad of two or three characters.
func appendPartial(dst []byte, quad uint32, chars int) []byte {
	if chars == 2 {
		return append(dst, byte(quad>>4))
	}
	return append(dst, byte(quad>>10), byte(quad>>2))
}
