package node

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zlib"
)

func TestAppendInflatedLimit(t *testing.T) {
	t.Parallel()
	var stream, bomb bytes.Buffer
	w := zlib.NewWriter(&stream)
	_, err := w.Write(make([]byte, 100_000))
	err = errors.Join(err, w.Close())
	w = zlib.NewWriter(&bomb)
	for range 100 {
		_, writeErr := w.Write(make([]byte, 1<<20))
		err = errors.Join(err, writeErr)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	var f inflater
	if out, err := f.appendInflated([]byte("kept"), stream.Bytes(), 100_000); err != nil || len(out) != 100_004 {
		t.Errorf("%d bytes, %v at the limit", len(out), err)
	}
	if out, err := f.appendInflated(nil, stream.Bytes(), 99_999); !errors.Is(err, errTooLarge) || len(out) > 200_000 {
		t.Errorf("%d bytes, %v over the limit", len(out), err)
	}
	if out, err := f.appendInflated(nil, bomb.Bytes(), 100_000); !errors.Is(err, errTooLarge) || cap(out) > 400_000 {
		t.Errorf("room for %d bytes, %v far over the limit", cap(out), err)
	}
}
