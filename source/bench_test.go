package source

import (
	"fmt"
	"io"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// benchRows nodes of benchNodeBytes, of which the benchmarks read all: 328 MB.
const (
	benchRows      = 20_000
	benchNodeBytes = 16_384
)

// benchDatabase has a table whose payloads lie uncompressed in TOAST, as base64
// of zlib does.
func benchDatabase(b *testing.B) string {
	b.Helper()
	url := testservers.Postgres(b, testservers.PostgresVersions()[len(testservers.PostgresVersions())-1])
	s, err := connectPlain(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context())
	_, err = s.Exec(b.Context(), plain+fmt.Sprintf(`alter table nodestore_node alter column data set storage external;
		insert into nodestore_node select md5(i::text), repeat(md5(i::text), %d), timestamptz '2024-01-01 00:00+00' + i * interval '1 second'
		from generate_series(1, %d) i`, benchNodeBytes/32, benchRows)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Exec(b.Context(), "vacuum analyze nodestore_node").ReadAll(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchRows * benchNodeBytes)
	return url
}

func BenchmarkStream(b *testing.B) {
	s, err := Open(b.Context(), Config{ConnString: benchDatabase(b), Table: "nodestore_node"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		rows := 0
		err := s.Stream(b.Context(), minMicros, maxMicros, func(node.Node) error { rows++; return nil })
		if err != nil || rows != benchRows {
			b.Fatalf("%d rows, %v", rows, err)
		}
	}
}

// BenchmarkCopyDiscard is what pgx does by itself: 8 KiB reads, rows not taken apart.
func BenchmarkCopyDiscard(b *testing.B) {
	conn, err := connectPlain(b.Context(), benchDatabase(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		_, err := conn.CopyTo(b.Context(), io.Discard, `copy (select id, data, "timestamp" from nodestore_node) to stdout (format binary)`)
		if err != nil {
			b.Fatal(err)
		}
	}
}
