package report

import (
	"math"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// A throughput that comes in lumps of five seconds is even.
func TestThroughputIsSmoothed(t *testing.T) {
	t.Parallel()
	var moments []verify.Point
	for second := range 121 {
		moments = append(moments, verify.Point{Seconds: float64(second), Nodes: int64(second / 5 * 5000)})
	}
	points := smoothed(moments)
	for _, p := range points[20:] {
		if math.Abs(p.Y-1000) > 1 {
			t.Errorf("after %.0f s: %.0f nodes a second", p.X, p.Y)
		}
	}
	if len(points) != 121 {
		t.Errorf("%d points", len(points))
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	d := verify.Day{Source: 100, Rejected: 5, Documents: 97, Native: 1, Findings: map[verify.Class]int64{verify.Missing: 4, verify.Extra: 5}}
	for _, test := range []struct {
		level          verify.Level
		missing, extra int64
	}{{verify.Counts, 0, 1}, {verify.IDs, 4, 5}, {verify.Full, 4, 5}} {
		if missing, extra := gap(d, test.level); missing != test.missing || extra != test.extra {
			t.Errorf("%s: %d missing and %d extra, want %d and %d", test.level, missing, extra, test.missing, test.extra)
		}
	}
}
