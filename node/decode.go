package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zlib"
)

// maxInner bounds what Decode inflates to, in bytes. PostgreSQL's text holds
// at most 1 GB, and deflate can make a thousand times as much of it.
const maxInner = 1 << 30

// errTooLarge is a payload that inflates to more than maxInner bytes.
var errTooLarge = errors.New("inner bytes exceed 1 GiB")

// Decoder decodes payloads as Sentry's reader does. It reuses its buffers: have
// one for each goroutine. The zero value is ready to use.
type Decoder struct {
	stream []byte
	inflater
}

// Decode appends to dst the inner bytes that Sentry's reader gets from a
// payload: zlib.decompress(base64.b64decode(data)) of CPython, which skips
// characters outside base64's alphabet and ignores what follows the zlib
// stream. Wherever Python raises, Decode returns an error, and dst unchanged.
func Decode(dst, data []byte) ([]byte, error) {
	return new(Decoder).Decode(dst, data)
}

// Decode is the function Decode with the buffers of d.
func (d *Decoder) Decode(dst, data []byte) ([]byte, error) {
	var err error
	if d.stream, err = appendDecoded(d.stream[:0], data); err != nil {
		return dst, fmt.Errorf("decode base64: %w", err)
	}
	out, err := d.appendInflated(dst, d.stream, maxInner)
	if err != nil {
		return dst, fmt.Errorf("inflate zlib: %w", err)
	}
	return out, nil
}

// inflater inflates one zlib stream after the other.
type inflater struct {
	src bytes.Reader
	z   io.ReadCloser // nil before the first stream; a zlib.Resetter
}

// open starts to inflate a stream.
func (f *inflater) open(stream []byte) (err error) {
	f.src.Reset(stream)
	if f.z == nil {
		f.z, err = zlib.NewReader(&f.src)
		return err
	}
	return f.z.(zlib.Resetter).Reset(&f.src, nil)
}

// appendInflated appends what the whole stream inflates to, at most limit bytes.
func (f *inflater) appendInflated(dst, stream []byte, limit int) ([]byte, error) {
	if err := f.open(stream); err != nil {
		return dst, err
	}
	for start := len(dst); ; {
		dst = slices.Grow(dst, 1<<12)
		n, err := f.z.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-start > limit:
			return dst, errTooLarge
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}
