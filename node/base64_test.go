package node

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// Every byte at every place of what is looked at together, and of what is left
// of a block and of a text.
func TestIsCanonicalEachByte(t *testing.T) {
	t.Parallel()
	var room scratch
	block := len(room) / 3 * 4
	for _, size := range []int{4, 8, 28, 32, 44, 48, 64, 96, 128, block - 4, block, block + 4, block + 64, 2 * block} {
		text := bytes.Repeat([]byte("+"), size)
		if !room.isCanonical(text) {
			t.Fatalf("%d times + is refused", size)
		}
		for at := range text {
			if at > 128 && at%block > 128 && at%block < block-128 && at%31 > 0 {
				continue
			}
			for char := range 256 {
				text[at] = byte(char)
				want := strings.IndexByte(alphabet, byte(char)) >= 0 || char == '=' && at == size-1
				if got := room.isCanonical(text); got != want {
					t.Fatalf("%#x at %d of %d: %v, want %v", char, at, size, got, want)
				}
			}
			text[at] = '+'
		}
	}
}

func FuzzIsCanonical(f *testing.F) {
	for _, seed := range []string{"", "QQ==", "QR==", "QUI=", "QUJD", "QQ==QQ==", "=", "====", "Q===", "QUJ", "QUJD\n", "QU\xc3\xa9="} {
		f.Add([]byte(seed))
		f.Add([]byte(strings.Repeat("Az09+/", 20) + seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := base64.StdEncoding.Decode(make([]byte, len(text)), text)
		want := err == nil && len(text) > 0 && !bytes.ContainsAny(text, "\r\n")
		if got := new(scratch).isCanonical(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	})
}

// What Go decodes, CPython decodes to the same; testdata/payloads.json has
// the rest.
func FuzzAppendDecoded(f *testing.F) {
	for _, seed := range []string{"QUJD", "QU\nI=", "Q=Q=", "QQ==QQ==", "-QUJD", "Q", "QQ"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, wantErr := base64.StdEncoding.DecodeString(string(text))
		got, err := appendDecoded([]byte("kept"), text)
		if wantErr == nil && (err != nil || string(got) != "kept"+string(want)) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
		slow, slowErr := appendLenient([]byte("kept"), text)
		if (err == nil) != (slowErr == nil) || err == nil && !bytes.Equal(got, slow) {
			t.Errorf("%q: %q, %v by the short way, %q, %v by the long way", text, got, err, slow, slowErr)
		}
	})
}
