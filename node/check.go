package node

import (
	"errors"
	"io"
)

// Depth is how far a Checker looks into a payload.
type Depth uint8

// The depths.
const (
	// Quick looks at the whole base64 text, the zlib header, and the first
	// inflated byte. Damage further inside the zlib stream is not seen.
	Quick Depth = iota
	// Full inflates the whole stream and compares its checksum.
	Full
)

// Reason is why a payload is not copied: what Sentry's reader would make of
// it. It is also the name of the reason in reports.
type Reason string

// The reasons.
const (
	// Accepted is not a reason: the reader gets JSON lines.
	Accepted Reason = ""
	// NullData is a row of a view whose data is null: it has no payload.
	NullData Reason = "null_data"
	// Empty has no inner bytes: the reader finds no event in it.
	Empty Reason = "empty"
	// Pickle was written before February 2021. The Django backend reads it;
	// on OpenSearch the reader raises, for every list that the node is in.
	Pickle Reason = "pickle"
	// CorruptBase64 makes b64decode raise.
	CorruptBase64 Reason = "corrupt_base64"
	// CorruptZlib makes zlib.decompress raise.
	CorruptZlib Reason = "corrupt_zlib"
	// NotJSON inflates to something that no JSON text starts with: json.loads
	// raises.
	NotJSON Reason = "not_json"
)

// Verdict is what a Checker found.
type Verdict struct {
	Reason  Reason // Accepted, or why not
	Recoded bool   // the text differs from what the column has; the inner bytes do not
}

// Checker checks payloads and makes them canonical. It reuses its buffers:
// have one for each goroutine.
type Checker struct {
	depth    Depth
	text     []byte // without newlines
	stream   []byte // what text decodes to, or the start of it
	window   []byte // of what is inflated and not kept
	scratch  scratch
	inflater inflater
}

// NewChecker returns a Checker that looks as far as depth says.
func NewChecker(depth Depth) *Checker { return &Checker{depth: depth} }

// Append appends to dst the canonical base64 text of data, which is what the
// column has: base64 text, or the zlib stream itself if the column is bytea.
// Canonical text goes through untouched; other text is decoded as leniently as
// CPython does, and the zlib stream in it encoded again, never recompressed.
// A payload that is not accepted leaves dst unchanged.
func (c *Checker) Append(dst, data []byte) ([]byte, Verdict) {
	switch {
	case len(data) == 0:
		return dst, Verdict{Reason: Empty}
	case isZlib(data):
		return c.encode(dst, data)
	case c.scratch.isCanonical(data):
		return c.pass(dst, data)
	}
	c.text = appendUnwrapped(c.text[:0], data)
	if c.scratch.isCanonical(c.text) {
		out, verdict := c.pass(dst, c.text)
		verdict.Recoded = verdict.Reason == Accepted
		return out, verdict
	}
	var err error
	if c.stream, err = appendLenient(c.stream[:0], data); err != nil {
		return dst, Verdict{Reason: CorruptBase64}
	}
	return c.encode(dst, c.stream)
}

// pass appends canonical text as it is, unless bytes follow its zlib stream.
func (c *Checker) pass(dst, text []byte) ([]byte, Verdict) {
	if c.depth == Quick {
		reason := c.peek(text)
		if reason != Accepted {
			return dst, Verdict{Reason: reason}
		}
		return append(dst, text...), Verdict{}
	}
	c.decode(text)
	size, reason := c.inflate(c.stream)
	if reason != Accepted {
		return dst, Verdict{Reason: reason}
	}
	if size < len(c.stream) {
		return appendEncoded(dst, c.stream[:size]), Verdict{Recoded: true}
	}
	return append(dst, text...), Verdict{}
}

// encode appends the text of a zlib stream.
func (c *Checker) encode(dst, stream []byte) ([]byte, Verdict) {
	size := len(stream)
	var reason Reason
	if c.depth == Quick {
		reason = classifyStart(stream)
	} else {
		size, reason = c.inflate(stream)
	}
	if reason != Accepted {
		return dst, Verdict{Reason: reason}
	}
	return appendEncoded(dst, stream[:size]), Verdict{Recoded: true}
}

// peekChars is how much text is decoded to find the first inflated byte. The
// code of a block, which comes before it, seldom takes more than 100 bytes.
const peekChars = 256

// peek classifies canonical text by as little of it as it needs.
func (c *Checker) peek(text []byte) Reason {
	if len(text) > peekChars {
		c.decode(text[:peekChars])
		// Anything but a first byte may be for want of what was left out.
		if reason := classifyStart(c.stream); reason != CorruptZlib {
			return reason
		}
	}
	c.decode(text)
	return classifyStart(c.stream)
}

// decode decodes canonical text into c.stream.
func (c *Checker) decode(text []byte) {
	c.stream, _ = appendDecoded(c.stream[:0], text) // canonical: it has no errors
}

// classifyStart classifies a zlib stream by its header and first inflated byte.
func classifyStart(stream []byte) Reason {
	if !isZlib(stream) {
		return CorruptZlib
	}
	first, err := firstByte(stream[2:])
	if errors.Is(err, io.EOF) {
		return Empty
	}
	if err != nil {
		return CorruptZlib
	}
	return classify(first)
}

// inflate reads the whole stream, compares its checksum, and returns its size
// in bytes without what follows it.
func (c *Checker) inflate(stream []byte) (size int, reason Reason) {
	if c.window == nil {
		c.window = make([]byte, passing)
	}
	size, first, err := c.inflater.pass(c.window, stream)
	switch {
	case err != nil:
		return 0, CorruptZlib
	case first < 0:
		return size, Empty
	}
	return size, classify(byte(first))
}

// classify tells by the first inflated byte what the reader would get.
func classify(first byte) Reason {
	switch first {
	case 0x80, '(': // protocol 2 and later; protocol 0 and 1 of a tuple or dict
		return Pickle
	case '{', '[', '"', '-', 't', 'f', 'n', 'N', 'I', ' ', '\t', '\n', '\r',
		'0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return Accepted
	}
	return NotJSON
}
