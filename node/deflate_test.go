package node

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

// levels are all that klauspost's deflate has; -2 is Huffman codes only.
var levels = []int{-2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}

// syncFlush is what zlib's Z_SYNC_FLUSH puts between blocks: an empty one.
const syncFlush = "\x00\x00\x00\xff\xff"

func compressed(t testing.TB, inner []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(inner)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func FuzzFirstByteOfCompressed(f *testing.F) {
	for i := range levels {
		for _, inner := range []string{"", "{", "\x00", "\xff\xfe", strings.Repeat("{", 1000), strings.Repeat(`{"key":"value of it"}`, 4000)} {
			f.Add([]byte(inner), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, inner []byte, level uint8) {
		stream := compressed(t, inner, levels[int(level)%len(levels)])
		for _, stream := range [][]byte{stream, append([]byte(syncFlush), stream...)} {
			got, err := firstByte(stream)
			if len(inner) == 0 {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%x: %v, want EOF", stream, err)
				}
				continue
			}
			if err != nil || got != inner[0] {
				t.Errorf("%x: %#x, %v, want %#x", stream, got, err, inner[0])
			}
		}
	})
}

// FuzzFirstByte holds firstByte against the whole inflation of any bytes.
func FuzzFirstByte(f *testing.F) {
	for _, inner := range []string{"", "{", "event", strings.Repeat(`{"key":"value of it"}`, 90)} {
		for _, level := range levels {
			f.Add(compressed(f, []byte(inner), level))
			f.Add(append([]byte(syncFlush), compressed(f, []byte(inner), level)...))
		}
	}
	for _, stream := range []string{
		"", "\x07", "\x03", "\x03\x00", "\x01\x00\x00\xff\xff", "\x00\x00\x00\xff\xff\x03\x00", "\x01\x01\x00\xff\xff", "\x01\x01\x00\xfe\xff{",
		"\x05\xe0\x81\x08\x00\x00\x00\x00\x00\x20\x7f\xeb\x01\x00", "\xfd\xff\xff\xff\xff\xff", "\x63\x00\x00",
		"\x04\xc0\xd1\t\x00\x10\x14\x85\xe1UN\xff\x18\xb6y8%A/A\xdd\xee\xee20",
	} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := firstByte(stream)
		inner, wantErr := io.ReadAll(flate.NewReader(bytes.NewReader(stream)))
		switch {
		case wantErr == nil && len(inner) == 0:
			if !errors.Is(err, io.EOF) {
				t.Errorf("%x: %v, want EOF", stream, err)
			}
		// Of a cut stream the library may give nothing, though zlib gives a byte.
		case wantErr == nil, err == nil && len(inner) > 0:
			if err != nil || got != inner[0] {
				t.Errorf("%x: %#x, %v, want the first of %x, %v", stream, got, err, inner, wantErr)
			}
		case errors.Is(err, io.EOF):
			t.Errorf("%x: EOF, want %v", stream, wantErr)
		}
	})
}

// A stream that is cut in front of its first byte is short, not corrupt.
func TestFirstByteOfPrefix(t *testing.T) {
	t.Parallel()
	inner := []byte(strings.Repeat(`{"key":"value of it, and more"} 0123456789`, 50))
	for _, level := range levels {
		stream := append([]byte(syncFlush), compressed(t, inner, level)...)
		found := false
		for size := range stream {
			got, err := firstByte(stream[:size])
			if err == nil {
				found = true
			}
			if found && (err != nil || got != '{') || !found && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("level %d, %d of %d bytes: %#x, %v", level, size, len(stream), got, err)
			}
		}
	}
}

func TestIsZlibNeverPassesTextOfOne(t *testing.T) {
	t.Parallel()
	for method := range 256 {
		for flags := range 256 {
			stream := []byte{byte(method), byte(flags), 0}
			if !isZlib(stream) {
				continue
			}
			if text := base64.StdEncoding.AppendEncode(nil, stream); isZlib(text) {
				t.Errorf("the text %q of a stream passes for a stream", text)
			}
		}
	}
}
