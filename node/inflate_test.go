package node

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzInflate holds the inflater against the standard library's for any deflate
// stream: both take it, with the same bytes of the same length, or neither does.
func FuzzInflate(f *testing.F) {
	long := strings.Repeat(`{"key":"value of it, and more"} 0123456789`, 2000)
	for _, inner := range []string{"", "{", "event", strings.Repeat("a", 700), long[:3000], long} {
		for _, level := range levels {
			f.Add(compressed(f, []byte(inner), level))
			f.Add(append([]byte(syncFlush), compressed(f, []byte(inner), level)...))
		}
	}
	var c comparison
	f.Fuzz(func(t *testing.T, deflated []byte) { c.compare(t, deflated) })
}

// comparison compares the inflater, which it uses again, with the standard library's.
type comparison struct {
	z               inflater
	buffer          [passing]byte
	compared, taken int
}

// compare inflates a deflate stream that gets a zlib header, and the checksum that it should have.
func (c *comparison) compare(t rapid.TB, deflated []byte) {
	t.Helper()
	from := bytes.NewReader(deflated)
	inner, err := io.ReadAll(io.LimitReader(flate.NewReader(from), 1<<22))
	if len(inner) == 1<<22 {
		t.Skip("too large")
	}
	c.compared++
	size := len(deflated) - from.Len()
	stream := append([]byte{0x78, 0x9c}, deflated[:size]...)
	if err != nil {
		c.refuse(t, append(stream, deflated[size:]...), errors.Is(err, io.ErrUnexpectedEOF))
		return
	}
	c.taken++
	stream = binary.BigEndian.AppendUint32(stream, adler32.Checksum(inner))
	c.take(t, stream, inner, deflated[size:])
}

// refuse wants a stream refused before its checksum is looked at: that is wrong whatever
// the deflate stream is.
func (c *comparison) refuse(t rapid.TB, stream []byte, cut bool) {
	t.Helper()
	if !cut {
		stream = append(stream, make([]byte, 64)...)
	}
	if _, err := c.z.appendInflated(nil, stream, maxInner); err == nil || errors.Is(err, errChecksum) {
		t.Fatalf("%x: %v, the library refuses it", stream, err)
	}
	if _, _, err := c.z.pass(c.buffer[:], stream); err == nil || errors.Is(err, errChecksum) {
		t.Fatalf("%x: %v, the library refuses it", stream, err)
	}
}

// take wants a stream taken, whatever follows it, but not with another checksum or a part of it.
func (c *comparison) take(t rapid.TB, stream, inner, after []byte) {
	t.Helper()
	whole := append(bytes.Clone(stream), after...)
	got, err := c.z.appendInflated([]byte("before"), whole, maxInner)
	if err != nil || string(got) != "before"+string(inner) {
		t.Fatalf("%x: %d bytes, %v, want %d", stream, len(got), err, len(inner))
	}
	size, first, err := c.z.pass(c.buffer[:], whole)
	if err != nil || size != len(stream) || first != firstOf(inner) {
		t.Fatalf("%x: %d bytes, first %d, %v, want %d, %d", stream, size, first, err, len(stream), firstOf(inner))
	}
	for cut := len(stream) - 4; cut < len(stream); cut++ {
		if _, err := c.z.appendInflated(nil, stream[:cut], maxInner); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%x: %v, the checksum is cut", stream[:cut], err)
		}
	}
	stream[len(stream)-4]++
	if _, err := c.z.appendInflated(nil, stream, maxInner); !errors.Is(err, errChecksum) {
		t.Fatalf("%x: %v, the checksum is wrong", stream, err)
	}
}

func firstOf(inner []byte) int {
	if len(inner) == 0 {
		return -1
	}
	return int(inner[0])
}

// Every stream that is cut anywhere, and every one with a single bit that is another.
func TestInflateDamaged(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`{"key":"value of it, and more"} 0123456789`, 8)
	var c comparison
	for _, inner := range []string{"", "event", long, string(skewed(250))} {
		for _, level := range levels {
			stream := append([]byte(syncFlush), compressed(t, []byte(inner), level)...)
			for size := range stream {
				c.compare(t, stream[:size])
			}
			for bit := range 8 * len(stream) {
				stream[bit/8] ^= 1 << (bit % 8)
				c.compare(t, stream)
				stream[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
	if c.taken == 0 || c.taken == c.compared {
		t.Errorf("%d of %d damaged streams are whole", c.taken, c.compared)
	}
}

// skewed returns bytes of which few are alike, the first the most often.
func skewed(size int) []byte {
	rng := rand.New(rand.NewPCG(10, 11))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(rng.ExpFloat64() * 12)
	}
	return out
}

// Streams that are larger than the window, of texts that repeat from near and from far,
// with every level; and cut off at a point.
func TestInflateLarge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		alphabet := rapid.IntRange(1, 256).Draw(t, "alphabet")
		inner := make([]byte, 0, 400_000)
		for len(inner) < cap(inner)-40_000 {
			if distance := 1 + rng.IntN(40_000); distance < len(inner) && rng.IntN(2) == 0 {
				inner = append(inner, inner[len(inner)-distance:][:min(1+rng.IntN(600), distance)]...)
			} else {
				for range 1 + rng.IntN(40) {
					inner = append(inner, byte(rng.IntN(alphabet)))
				}
			}
		}
		level := rapid.SampledFrom(levels).Draw(t, "level")
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(inner); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		stream := binary.BigEndian.AppendUint32(append([]byte{0x78, 0x9c}, out.Bytes()...), adler32.Checksum(inner))

		var z inflater
		got, err := z.appendInflated(nil, stream, maxInner)
		if err != nil || !bytes.Equal(got, inner) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(inner), err)
		}
		used, first, err := z.pass(make([]byte, passing), append(stream, "after"...))
		if err != nil || used != len(stream) || first != int(inner[0]) {
			t.Fatalf("%d of %d bytes, first %d, %v", used, len(stream), first, err)
		}
		cut := rapid.IntRange(0, len(stream)-1).Draw(t, "cut")
		if got, err := z.appendInflated(nil, stream[:cut], maxInner); err == nil {
			t.Fatalf("%d bytes of a stream that is cut at %d of %d", len(got), cut, len(stream))
		}
	})
}

func TestAdler(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		data = bytes.Repeat(data, rapid.IntRange(1, 20_000).Draw(t, "times"))
		data = append(data, bytes.Repeat([]byte{0xff}, rapid.IntRange(0, 200_000).Draw(t, "ones"))...)
		cut := rapid.IntRange(0, len(data)).Draw(t, "cut")
		sum := adler{a: 1}
		sum.add(data[:cut])
		sum.add(data[cut:])
		if want := adler32.Checksum(data); sum.value() != want {
			t.Fatalf("%d bytes: %08x, want %08x", len(data), sum.value(), want)
		}
	})
}
