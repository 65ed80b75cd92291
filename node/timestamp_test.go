package node_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestAppendTimestamp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		micros int64
		want   string
	}{
		{1756470896123456, "2025-08-29T12:34:56.123456+00:00"},
		{0, "1970-01-01T00:00:00.000000+00:00"},
		{-1, "1969-12-31T23:59:59.999999+00:00"},
		{1709164800000001, "2024-02-29T00:00:00.000001+00:00"},
		{1767225599999999, "2025-12-31T23:59:59.999999+00:00"},
	}
	for _, test := range tests {
		if got := string(node.AppendTimestamp([]byte("at "), test.micros)); got != "at "+test.want {
			t.Errorf("%d: %s, want %s", test.micros, got, test.want)
		}
	}
}

// The day that a document says it is of is the day of its index.
func TestAppendTimestampAgreesWithDay(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		micros := rng.Int64N(8e15) - 4e15
		text := string(node.AppendTimestamp(nil, micros))
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || at.UnixMicro() != micros {
			t.Fatalf("%d is written as %s, which is %v, %v", micros, text, at, err)
		}
		if day := node.DayOf(micros).String(); text[:10] != day {
			t.Fatalf("%s is on day %s", text, day)
		}
	}
}

func TestAppendTimestampDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { node.AppendTimestamp(dst, 1756470896123456) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendTimestamp(b *testing.B) {
	dst := make([]byte, 0, 64)
	for b.Loop() {
		node.AppendTimestamp(dst, 1756470896123456)
	}
}

func TestMillis(t *testing.T) {
	t.Parallel()
	for micros, millis := range map[int64]int64{0: 0, 999: 0, 1000: 1, -1: -1, -999: -1, -1000: -1, -1001: -2} {
		if got := node.Millis(micros); got != millis {
			t.Errorf("%d µs are %d ms, want %d", micros, got, millis)
		}
	}
}
