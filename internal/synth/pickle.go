package synth

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// pickle wraps JSON into a Python pickle of {"version": "7", "data": json}, the
// format of rows that Sentry stored before February 2021: protocol 2, or the
// text protocol 0.
func pickle(rng *rand.Rand, json []byte) []byte {
	if rng.IntN(2) == 0 {
		return pickle0(json)
	}
	return pickle2(json)
}

// pickle2 starts with the opcode PROTO, 0x80. U is a short string, X a
// Unicode string after its length, q what follows is remembered as.
func pickle2(json []byte) []byte {
	b := []byte("\x80\x02}q\x01(U\x07versionq\x02U\x017q\x03U\x04dataq\x04X")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(json)))
	b = append(b, json...)
	return append(b, "q\x05u."...)
}

// pickle0 starts with MARK, "(". V is a Unicode string up to the end of its
// line, in which only backslash and newline have to be escaped.
func pickle0(json []byte) []byte {
	b := []byte("(dp1\nS'version'\np2\nS'7'\np3\nsS'data'\np4\nV")
	for _, c := range json {
		if c == '\\' || c == '\n' {
			b = fmt.Appendf(b, `\u%04x`, c)
			continue
		}
		b = append(b, c)
	}
	return append(b, "\np5\ns."...)
}
