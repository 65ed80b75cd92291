package node

import (
	"bytes"
	"errors"
	"slices"

	"github.com/segmentio/asm/base64"
)

var (
	errNotASCII = errors.New("a character outside ASCII")
	errLength   = errors.New("number of data characters is 1 more than a multiple of 4")
	errPadding  = errors.New("incorrect padding")
)

// scratch is room for what nobody looks at. It stays in a core's first cache.
type scratch [3 << 10]byte

// isCanonical says whether text is RFC 4648 base64 as Python and PostgreSQL
// write it: alphabet only, whole quads, padding only at the end. The unused
// bits before the padding are not looked at, for no reader looks at them.
//
// It runs over every byte that is migrated. Decoding to nowhere with the
// vectors of the processor is the fastest look at it.
func (s *scratch) isCanonical(text []byte) bool {
	const block, line = len(s) / 3 * 4, 76
	if bytes.IndexByte(text[:min(len(text), line+1)], '\n') >= 0 {
		return false // wrapped: seen at once
	}
	for ; len(text) > block; text = text[block:] {
		if n, err := base64.StdEncoding.Decode(s[:], text[:block]); err != nil || n < len(s) {
			return false
		}
	}
	n, err := base64.StdEncoding.Decode(s[:], text)
	return err == nil && isWhole(text, n)
}

// isWhole says whether n bytes are all that can come of text. Go's decoder,
// which skips line breaks, makes less of text that has some.
func isWhole(text []byte, n int) bool {
	pads := len(text) - len(bytes.TrimRight(text, "="))
	return n > 0 && len(text)%4 == 0 && n == len(text)/4*3-pads
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

func appendEncoded(dst, stream []byte) []byte {
	start, size := len(dst), base64.StdEncoding.EncodedLen(len(stream))
	dst = slices.Grow(dst, size)[:start+size]
	base64.StdEncoding.Encode(dst[start:], stream)
	return dst
}

// appendDecoded decodes text as appendLenient does, canonical text faster.
func appendDecoded(dst, text []byte) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(dst[start:cap(dst)], text)
	if err == nil && isWhole(text, n) {
		return dst[:start+n], nil
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
