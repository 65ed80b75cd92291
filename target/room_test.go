package target

import (
	"strings"
	"testing"
)

// TestNoRoom is the rule of plan and migrate.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	low, err := ParseWatermark("85%")
	if err != nil {
		t.Fatal(err)
	}
	flood, err := ParseWatermark("95%")
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{Low: low, High: low, Flood: flood, Enforced: true}
	for _, c := range []struct {
		used  []int64 // percent
		waits bool
		want  string // the node that is named
	}{
		{[]int64{20, 82}, false, ""},
		{[]int64{20, 84}, false, ""}, // the other one takes shards
		{[]int64{83, 84}, false, "b"},
		{[]int64{82, 84}, false, ""},
		{[]int64{82, 84}, true, "b"},
		{[]int64{81, 84}, true, ""},
		{[]int64{94, 20}, false, "a"}, // its indices would refuse writes
		{[]int64{92}, false, ""},      // one node: the flood stage counts
		{[]int64{93}, false, "a"},
	} {
		var disks []Disk
		for i, used := range c.used {
			disks = append(disks, Disk{Node: string(rune('a' + i)), Total: 1000, Available: 1000 - 10*used})
		}
		if why := limits.NoRoom(disks, c.waits); (why != "") != (c.want != "") || !strings.HasPrefix(why, c.want) {
			t.Errorf("%v: %q", c, why)
		}
	}
	limits.Enforced = false
	if why := limits.NoRoom([]Disk{{Node: "a", Total: 1000, Available: 1}}, false); why != "" {
		t.Errorf("watermarks are off: %q", why)
	}
}
