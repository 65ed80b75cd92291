package synth

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
)

// newID makes an id as Sentry makes them for the kind; 96 random bits or more
// keep it unique.
func newID(rng *rand.Rand, kind Kind) string {
	random := randomBytes(rng, 16)
	switch kind {
	case Occurrence:
		return "i-o:" + hex.EncodeToString(random)
	case OldID:
		copy(random[3*rng.IntN(5):], "\xfb\xff\xbf") // "+/+/", so that none goes without
		return base64.StdEncoding.EncodeToString(random)
	default:
		return hex.EncodeToString(random)
	}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// encode returns the column's text for a row of the kind.
func encode(rng *rand.Rand, kind Kind, p payload) string {
	switch kind {
	case Empty:
		return ""
	case Wrapped:
		return wrap(p.data)
	case Junk:
		return junk(rng, p)
	case CorruptBase64:
		return cutGroup(rng, p.data)
	case CorruptZlib:
		return base64.StdEncoding.EncodeToString(corrupt(rng, slices.Clone(p.stream)))
	default:
		return p.data
	}
}

// wrap breaks lines as PostgreSQL's encode(…, 'base64') does: after every 76
// characters, none at the end.
func wrap(data string) string {
	const width = 76
	var b strings.Builder
	b.Grow(len(data) + len(data)/width)
	for len(data) > width {
		b.WriteString(data[:width])
		b.WriteByte('\n')
		data = data[width:]
	}
	b.WriteString(data)
	return b.String()
}

// junk makes data that Python's base64.b64decode and zlib.decompress accept all
// the same: CPython skips characters outside the alphabet and padding before a
// group's third character, stops at complete padding, and ignores what follows
// the zlib stream.
func junk(rng *rand.Rand, p payload) string {
	switch rng.IntN(5) {
	case 0:
		return sprinkle(rng, p.data, " \t\r\n")
	case 1:
		return sprinkle(rng, p.data, "!#-_.:*~")
	case 2:
		return "=" + p.data
	case 3:
		after := randomBytes(rng, 1+rng.IntN(40))
		return base64.StdEncoding.EncodeToString(slices.Concat(p.stream, after))
	default:
		stream := p.stream
		if len(stream)%3 == 0 { // base64 without padding would take the text for data
			stream = slices.Concat(stream, []byte{0})
		}
		return base64.StdEncoding.EncodeToString(stream) + "text after the padding"
	}
}

// sprinkle puts some of the given characters at random places.
func sprinkle(rng *rand.Rand, data, characters string) string {
	var b strings.Builder
	for range 1 + rng.IntN(20) {
		at := rng.IntN(len(data)/4 + 1)
		b.WriteString(data[:at])
		b.WriteByte(characters[rng.IntN(len(characters))])
		data = data[at:]
	}
	b.WriteString(data)
	return b.String()
}

// cutGroup ends data inside a group of four characters, without padding: one
// to three characters that no decoder can complete.
func cutGroup(rng *rand.Rand, data string) string {
	groups := len(data)/4 - 1
	return data[:4*groups-rng.IntN(groups/2)*4+1+rng.IntN(3)]
}

// corrupt damages a zlib stream in place.
func corrupt(rng *rand.Rand, stream []byte) []byte {
	switch rng.IntN(3) {
	case 0:
		stream[0] ^= 0x0f // another method than deflate
		return stream
	case 1:
		return stream[:len(stream)/4+rng.IntN(len(stream)/2)]
	default:
		stream[len(stream)-1] ^= 1 // Adler-32
		return stream
	}
}
