package migrate_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
)

// TestMemoryDoesNotGrowWithTheRows compares the peaks of two copies, of which
// the smaller one already fills every buffer many times.
func TestMemoryDoesNotGrowWithTheRows(t *testing.T) {
	t.Parallel()
	few, many := copyPeak(t, 5_000), copyPeak(t, 50_000)
	t.Logf("peak memory %d kB, with ten times the rows %d kB", few, many)
	if float64(many) > 1.1*float64(few) {
		t.Errorf("peak memory %d kB, with ten times the rows %d kB", few, many)
	}
}

// copyPeak copies rows of about 1 kB and returns the tool's peak memory in kB.
func copyPeak(t *testing.T, rows int) (peak int) {
	t.Helper()
	w := newWorld(t, newestPair())
	if err := synth.CreateTable(t.Context(), w.sql, "nodestore_node"); err != nil {
		t.Fatal(err)
	}
	w.exec(fmt.Sprintf(`insert into nodestore_node select md5(i::text), %s, timestamptz '2025-03-01 00:00+00' + i * interval '1.5 seconds' from generate_series(1, %d) i;
		analyze nodestore_node`, "'"+largeRow(0, 1000).Data+"'", rows))
	w.environment = []string{"GOGC=10"} // what is in use, not when it is collected
	c := w.start("--check", "quick", "--bulk-bytes", "512KiB")
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-c.ended:
			c.wants(exitDone)
			if stored := c.summary().Read; stored != int64(rows) {
				t.Errorf("%d of %d rows were read", stored, rows)
			}
			return peak
		case <-ticker.C:
			peak = max(peak, c.peak())
		}
	}
}

// peak is the most memory that the process had so far, in kB. What the kernel
// tells after the end includes the parent before the exec.
func (c *child) peak() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0 // it has just ended
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	digits, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	peak, err := strconv.Atoi(digits)
	if err != nil {
		return 0 // a process that ends has no memory
	}
	return peak
}
