package node

import "fmt"

// maxInner bounds what Decode inflates to, in bytes. PostgreSQL's text holds
// at most 1 GB, and deflate can make a thousand times as much of it.
const maxInner = 1 << 30

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
