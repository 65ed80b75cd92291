// Package node holds what a row of Sentry's nodestore_node is: its identity,
// its UTC day, the encoding of its payload, and the one fate that it has in a
// migration. It keeps promises 1 (every node has exactly one fate) and 3
// (byte for byte) where they meet the bytes.
package node

// Node is one row as PostgreSQL stores it. The slices belong to the reader's
// buffer: they are valid until the function that was handed the Node returns.
type Node struct {
	ID     []byte // the primary key, at most 40 characters in Sentry's schema; nil: null
	Data   []byte // base64(zlib(inner bytes)), or the zlib stream itself if the column is bytea; nil: null
	Micros int64  // the row's timestamp: microseconds since 1970-01-01 00:00 UTC
}
