package inspect

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Limits are the cluster's settings that can stop a load.
type Limits struct {
	ShardsPerNode int
	Low           Watermark // beyond it no shards come to a node
	Flood         Watermark // beyond it the node's indices refuse writes
	Enforced      bool      // disk.threshold_enabled
	SingleNodeToo bool      // low also holds where there is one data node
	ReadOnly      bool      // a block on the whole cluster
	Allocation    string    // cluster.routing.allocation.enable; all if nobody changed it

	filters map[string]string // require._name and the like, of cluster.routing.allocation
}

// LimitsOf reads the cluster's settings, those of opensearch.yml and the defaults
// included.
func LimitsOf(ctx context.Context, t *target.Target) (Limits, error) {
	var answer struct{ Defaults, Persistent, Transient map[string]any }
	const path = "/_cluster/settings?include_defaults=true&flat_settings=true"
	if err := t.Ask(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return Limits{}, err
	}
	settings := make(map[string]string)
	for _, some := range []map[string]any{answer.Defaults, answer.Persistent, answer.Transient} {
		for name, value := range some {
			settings[name] = fmt.Sprint(value)
		}
	}
	const disk = "cluster.routing.allocation.disk."
	limits := Limits{
		Enforced:      settings[disk+"threshold_enabled"] == "true",
		SingleNodeToo: settings[disk+"watermark.enable_for_single_data_node"] == "true",
		ReadOnly:      settings["cluster.blocks.read_only"] == "true" || settings["cluster.blocks.read_only_allow_delete"] == "true",
		Allocation:    settings["cluster.routing.allocation.enable"],
		filters:       filters(settings, "cluster"),
	}
	var err error
	if limits.ShardsPerNode, err = strconv.Atoi(settings["cluster.max_shards_per_node"]); err != nil {
		return Limits{}, fmt.Errorf("read cluster.max_shards_per_node: %w", err)
	}
	for name, mark := range map[string]*Watermark{"low": &limits.Low, "flood_stage": &limits.Flood} {
		if *mark, err = ParseWatermark(settings[disk+"watermark."+name]); err != nil {
			return Limits{}, err
		}
	}
	return limits, nil
}

// Watermark is how full a disk may be: a share of it, or bytes that stay free.
type Watermark struct {
	text  string
	used  float64 // 0 to 1, if free is 0
	bytes int64   // that have to stay free
}

// String is the watermark as it was set.
func (w Watermark) String() string { return w.text }

// shown is a watermark for people.
func (w Watermark) shown() string {
	if w.bytes > 0 {
		return w.text + " free"
	}
	return fmt.Sprintf("%.0f %%", 100*w.used)
}

// Free is how much of a disk of total bytes has to stay free.
func (w Watermark) Free(total int64) int64 {
	if w.bytes > 0 {
		return w.bytes
	}
	return int64((1 - w.used) * float64(total))
}

// ParseWatermark reads a watermark as the settings have it: 85%, 0.85 or 50gb,
// by powers of 1024.
func ParseWatermark(text string) (Watermark, error) {
	number, percent := strings.CutSuffix(text, "%")
	if share, err := strconv.ParseFloat(number, 64); err == nil {
		if percent {
			share /= 100
		}
		return Watermark{text: text, used: share}, nil
	}
	for i, unit := range []string{"kb", "mb", "gb", "tb", "pb", "b"} {
		digits, ok := strings.CutSuffix(strings.ToLower(text), unit)
		if n, err := strconv.ParseFloat(digits, 64); ok && err == nil {
			return Watermark{text: text, bytes: int64(n * float64(int64(1)<<(10*((i+1)%6))))}, nil
		}
	}
	return Watermark{}, fmt.Errorf("read watermark %q: neither a share nor a size", text)
}

// filters are the allocation filters among settings, such as exclude._ip.
func filters(settings map[string]string, scope string) map[string]string {
	found := make(map[string]string)
	for name, value := range settings {
		rule, ok := strings.CutPrefix(name, scope+".routing.allocation.")
		if kind, _, _ := strings.Cut(rule, "."); ok && value != "" && slices.Contains([]string{"require", "include", "exclude"}, kind) {
			found[rule] = value
		}
	}
	return found
}
