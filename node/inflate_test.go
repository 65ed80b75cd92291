package node

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
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
	var z inflater
	window := make([]byte, passing)
	f.Fuzz(func(t *testing.T, deflated []byte) {
		from := bytes.NewReader(deflated)
		inner, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(from), 1<<22))
		if len(inner) == 1<<22 {
			t.Skip("too large")
		}
		size := len(deflated) - from.Len()
		stream := append([]byte{0x78, 0x9c}, deflated[:size]...)
		stream = binary.BigEndian.AppendUint32(stream, adler32.Checksum(inner))
		stream = append(stream, deflated[size:]...)

		got, err := z.appendInflated([]byte("before"), stream, maxInner)
		if (err == nil) != (wantErr == nil) || err == nil && string(got) != "before"+string(inner) {
			t.Fatalf("%x: %d bytes, %v, want %d, %v", deflated, len(got), err, len(inner), wantErr)
		}
		used, first, err := z.pass(window, stream)
		if (err == nil) != (wantErr == nil) || err == nil && (used != 2+size+4 || first != firstOf(inner)) {
			t.Fatalf("%x: %d bytes, first %d, %v, want %d, %v", deflated, used, first, err, 2+size+4, wantErr)
		}
		if wantErr != nil {
			return
		}
		stream[2+size]++
		if _, err := z.appendInflated(nil, stream, maxInner); err == nil {
			t.Fatalf("%x: a wrong checksum passes", deflated)
		}
	})
}

func firstOf(inner []byte) int {
	if len(inner) == 0 {
		return -1
	}
	return int(inner[0])
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
