package node

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/bits"
	"strconv"
)

// Digest is of documents, in no order: whoever has it can tell later, from the
// documents alone, that they are the same and as many. docs/verify.md says how to
// compute it without this tool.
type Digest struct {
	Nodes    int64  `json:"nodes"`
	Bytes    int64  `json:"bytes"`                             // of their data, as it is stored
	Millis   uint64 `json:"timestamp_sum_milliseconds,string"` // modulo 2^64
	IDs      Sum    `json:"ids"`                               // of ids and timestamps
	Payloads Sum    `json:"payloads"`                          // of these and of what is stored
}

// DigestOf is the digest of one document: id, timestamp in milliseconds, and base64
// text. The text goes in as its length and CRC-32, which costs a fifteenth of a
// cryptographic hash: it tells accidents, and not who means to deceive.
func DigestOf(id []byte, millis int64, text []byte) Digest {
	var room [128]byte
	line := append(room[:0], id...)
	line = append(line, '\n')
	line = strconv.AppendInt(line, millis, 10)
	ids := sumOf(line)
	line = append(line, '\n')
	line = strconv.AppendInt(line, int64(len(text)), 10)
	line = append(line, '\n')
	line = strconv.AppendUint(line, uint64(crc32.ChecksumIEEE(text)), 10)
	return Digest{Nodes: 1, Bytes: int64(len(text)), Millis: uint64(millis), IDs: ids, Payloads: sumOf(line)}
}

// IDSum is what a document's id and timestamp add to Digest.IDs.
func IDSum(id []byte, millis int64) Sum {
	var room [64]byte
	return sumOf(strconv.AppendInt(append(append(room[:0], id...), '\n'), millis, 10))
}

// Add adds a digest of other documents.
func (d *Digest) Add(other Digest) {
	d.Nodes += other.Nodes
	d.Bytes += other.Bytes
	d.Millis += other.Millis
	d.IDs.Add(other.IDs)
	d.Payloads.Add(other.Payloads)
}

// Sum is the sum, modulo 2^128, of the first 16 bytes of the SHA-256 of lines, each
// taken for a number with its highest byte first. Its text is 32 hex digits.
type Sum struct{ high, low uint64 }

func sumOf(line []byte) Sum {
	hash := sha256.Sum256(line)
	return Sum{binary.BigEndian.Uint64(hash[:8]), binary.BigEndian.Uint64(hash[8:16])}
}

// Add adds the sum of other lines.
func (s *Sum) Add(other Sum) {
	var carry uint64
	s.low, carry = bits.Add64(s.low, other.low, 0)
	s.high, _ = bits.Add64(s.high, other.high, carry)
}

// String is 32 hex digits.
func (s Sum) String() string { return fmt.Sprintf("%016x%016x", s.high, s.low) }

// MarshalText is for encoding.TextMarshaler.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is for encoding.TextUnmarshaler.
func (s *Sum) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != 16 {
		return fmt.Errorf("digest %q: 32 hex digits are wanted", text)
	}
	s.high, s.low = binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	return nil
}
