package node_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

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
