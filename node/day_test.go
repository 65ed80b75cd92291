package node_test

import (
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestDayOf(t *testing.T) {
	t.Parallel()
	const micros = int64(24 * time.Hour / time.Microsecond)
	tests := []struct {
		micros int64
		want   string
	}{
		{0, "1970-01-01"},
		{micros - 1, "1970-01-01"},
		{micros, "1970-01-02"},
		{-1, "1969-12-31"},
		{-micros, "1969-12-31"},
		{-micros - 1, "1969-12-30"},
		{1756470896123456, "2025-08-29"},
	}
	for _, test := range tests {
		day := node.DayOf(test.micros)
		if day.String() != test.want {
			t.Errorf("%d is on %s, want %s", test.micros, day, test.want)
		}
		if test.micros < day.Start() || test.micros >= day.End() {
			t.Errorf("%d is outside its day %d to %d", test.micros, day.Start(), day.End())
		}
	}
}

func TestParseDay(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"1969-12-31", "1970-01-01", "2024-02-29", "2025-08-29"} {
		if day, err := node.ParseDay(text); err != nil || day.String() != text {
			t.Errorf("%s is read as %s, %v", text, day, err)
		}
	}
	for _, text := range []string{"", "2025-8-29", "2025-02-29", "2025-08-29T00:00:00Z", "today"} {
		if day, err := node.ParseDay(text); err == nil {
			t.Errorf("%q is read as %s", text, day)
		}
	}
}
