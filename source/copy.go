package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	copySignature   = "PGCOPY\n\xff\r\n\x00"
	copyHeaderBytes = len(copySignature) + 8 // and the flags and the length of the extension, 4 bytes each
	copyTrailer     = -1                     // in the place of a row's field count
	copyNull        = -1                     // in the place of a field's length

	// maxRowBytes is above what a server can send: a message of PostgreSQL is
	// less than 1 GiB. A longer row means that the stream is not what it says.
	maxRowBytes = 1 << 30

	// copyFields is how many fields each row has: id, timestamp, and something
	// more, or null.
	copyFields = 3
)

type copyState uint8

const (
	copyHeader copyState = iota
	copyRows
	copyEnd
)

// copyParser is an io.Writer that takes a binary COPY apart and hands over its
// rows. Rows that lie whole in one Write, as PostgreSQL sends them, are not
// copied: their fields point into the caller's buffer.
type copyParser struct {
	row func([][]byte) error // a null is nil; the fields are valid during the call

	state   copyState
	count   int64 // rows that were handed over
	carry   []byte
	current [copyFields][]byte
}

// Write parses p and what was left over from the last call.
func (c *copyParser) Write(p []byte) (int, error) {
	if len(c.carry) == 0 {
		rest, err := c.parse(p)
		c.carry = append(c.carry, rest...)
		return len(p), err
	}
	c.carry = append(c.carry, p...)
	rest, err := c.parse(c.carry)
	c.carry = c.carry[:copy(c.carry, rest)]
	return len(p), err
}

// finish reports a stream that ended too early.
func (c *copyParser) finish() error {
	if c.state != copyEnd {
		return fmt.Errorf("binary COPY ended after %d rows without its trailer, %d bytes left", c.count, len(c.carry))
	}
	return nil
}

// parse hands over the whole rows of p and returns what follows them.
func (c *copyParser) parse(p []byte) (rest []byte, err error) {
	for {
		var used int
		switch c.state {
		case copyHeader:
			used, err = c.header(p)
		case copyRows:
			used, err = c.next(p)
		case copyEnd:
			if len(p) > 0 {
				err = fmt.Errorf("binary COPY continues after its trailer with %d bytes", len(p))
			}
		}
		if err != nil || used == 0 {
			return p, err
		}
		p = p[used:]
	}
}

// header returns 0 as long as the header is incomplete.
func (c *copyParser) header(p []byte) (used int, err error) {
	if n := min(len(p), len(copySignature)); !bytes.Equal(p[:n], []byte(copySignature[:n])) {
		return 0, fmt.Errorf("binary COPY starts with %q", p[:n])
	}
	if len(p) < copyHeaderBytes {
		return 0, nil
	}
	flags := binary.BigEndian.Uint32(p[len(copySignature):])
	if flags>>16 != 0 {
		return 0, fmt.Errorf("binary COPY has unknown critical flags %#x", flags)
	}
	extension := binary.BigEndian.Uint32(p[len(copySignature)+4:])
	if extension > maxRowBytes {
		return 0, fmt.Errorf("binary COPY has a header extension of %d bytes", extension)
	}
	used = copyHeaderBytes + int(extension)
	if len(p) < used {
		return 0, nil
	}
	c.state = copyRows
	return used, nil
}

// next hands over the row at the start of p; it returns 0 if it is incomplete.
func (c *copyParser) next(p []byte) (used int, err error) {
	if len(p) < 2 {
		return 0, nil
	}
	fields := int(int16(binary.BigEndian.Uint16(p)))
	if fields == copyTrailer {
		c.state = copyEnd
		return 2, nil
	}
	if fields != copyFields {
		return 0, fmt.Errorf("row %d of binary COPY has %d fields, want %d", c.count+1, fields, copyFields)
	}
	used = 2
	for i := range fields {
		if len(p) < used+4 {
			return 0, nil
		}
		length := int(int32(binary.BigEndian.Uint32(p[used:])))
		used += 4
		if length == copyNull {
			c.current[i] = nil
			continue
		}
		if length < 0 || used+length > maxRowBytes {
			return 0, fmt.Errorf("field %d of row %d of binary COPY has length %d", i+1, c.count+1, length)
		}
		if len(p) < used+length {
			return 0, nil
		}
		c.current[i] = p[used : used+length : used+length]
		used += length
	}
	c.count++
	return used, c.row(c.current[:])
}
