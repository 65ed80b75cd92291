package amount_test

import (
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
)

func TestNumbersInWords(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{0.95: "95 %", 0.013: "1.3 %", 0.00002996: "0.0030 %", 0.5: "50 %", 0.001: "0.10 %"} {
		if got := amount.Percent(share); got != want {
			t.Errorf("%v is written %q, want %q", share, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 198412003: "198,412,003"} {
		if got := amount.Count(n); got != want {
			t.Errorf("%d is written %q, want %q", n, got, want)
		}
	}
}
