package inspect

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
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
	limits := Limits{Low: low, Flood: flood, Enforced: true}
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
			disks = append(disks, Disk{Node: string(rune('a' + i)), Total: 1000, Available: 1000 - 10*used, Only: len(c.used) == 1})
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

// TestFilteredDisks has a cluster of its own, and wants of its two nodes those
// that each filter leaves, whether it is the cluster's or a template's.
func TestFilteredDisks(t *testing.T) {
	t.Parallel()
	first, err := testbed.StartOpenSearch(t.Context(), testbed.OpenSearchOptions{Quick: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	t.Cleanup(func() { _ = first.Stop() })
	second, err := testbed.StartOpenSearch(t.Context(), testbed.OpenSearchOptions{Quick: true, Join: first})
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	t.Cleanup(func() { _ = second.Stop() })
	bedIn(testservers.NewCorner(t, first.URL())).wantFilteredDisks()
}

func (b bed) wantFilteredDisks() {
	t, ctx := b.T, b.T.Context()
	all, err := Disks(ctx, b.Target, Limits{})
	if err != nil || len(all) != 2 || all[0].Only || all[1].Only {
		t.Fatalf("disks %+v, %v", all, err)
	}
	first, second := all[0].Node, all[1].Node
	both := first + " " + second
	for _, c := range []struct {
		filter map[string]any
		want   string
	}{
		{map[string]any{"exclude._name": first}, second},
		{map[string]any{"include._name": "nobody, " + first}, first},
		{map[string]any{"include._name": "nobody", "include._ip": "127.*"}, both},
		{map[string]any{"require._name": second, "require._host": "127.0.0.1"}, second},
		{map[string]any{"require.disk_type": "*"}, ""},
		{map[string]any{"exclude.disk_type": "*", "require._name": ""}, both},
	} {
		ofCluster, undone, ofIndex := make(map[string]any), make(map[string]any), make(map[string]any)
		for rule, value := range c.filter {
			ofCluster["cluster.routing.allocation."+rule] = value
			undone["cluster.routing.allocation."+rule] = nil
			ofIndex["index.routing.allocation."+rule] = value
		}
		b.Must(http.MethodPut, "/_cluster/settings", asJSON(t, map[string]any{"persistent": ofCluster}))
		b.wantDisks(c.want, ofCluster)
		b.Must(http.MethodPut, "/_cluster/settings", asJSON(t, map[string]any{"persistent": undone}))
		template := map[string]any{"index_patterns": b.Name + "-*", "template": map[string]any{"settings": ofIndex}}
		b.Must(http.MethodPut, "/_index_template/"+b.Name, asJSON(t, template))
		b.wantDisks(c.want, ofIndex)
		b.Must(http.MethodDelete, "/_index_template/"+b.Name, "")
	}
}

func (b bed) wantDisks(want string, filter map[string]any) {
	b.T.Helper()
	limits, err := LimitsOf(b.T.Context(), b.Target)
	if err != nil {
		b.T.Fatal(err)
	}
	disks, err := Disks(b.T.Context(), b.Target, limits)
	var names []string
	for _, d := range disks {
		names = append(names, d.Node)
	}
	if err != nil || strings.Join(names, " ") != want {
		b.T.Errorf("%v: %q, want %q, %v", filter, names, want, err)
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
