package target

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The requests of the inspect files read only, so that a plan changes nothing:
// GET, and POST to the _simulate APIs.

// Health is the state of the whole cluster.
type Health struct {
	Status           string `json:"status"` // green, yellow, red
	Nodes            int    `json:"number_of_nodes"`
	DataNodes        int    `json:"number_of_data_nodes"`
	ActiveShards     int    `json:"active_shards"`
	UnassignedShards int    `json:"unassigned_shards"`
	MovingShards     int    `json:"relocating_shards"`
}

// Health asks for the state of the cluster.
func (t *Target) Health(ctx context.Context) (Health, error) {
	var health Health
	err := t.ask(ctx, http.MethodGet, "/_cluster/health", nil, &health)
	return health, err
}

// Limits are the cluster's settings that can stop a load.
type Limits struct {
	ShardsPerNode int
	Low, High     Watermark // beyond them no shards come to a node, or its shards leave
	Flood         Watermark // beyond it the node's indices refuse writes
	Enforced      bool      // disk.threshold_enabled
	SingleNodeToo bool      // low and high also hold where there is one data node
	ReadOnly      bool      // a block on the whole cluster
	Allocation    string    // cluster.routing.allocation.enable; all if nobody changed it

	filters map[string]string // require._name and the like, of cluster.routing.allocation
}

// Mark is the watermark that ends a load on a node: the cluster's only one is
// filled until the flood stage, unless the settings say otherwise.
func (l Limits) Mark(d Disk) (name string, mark Watermark) {
	if d.Only && !l.SingleNodeToo {
		return "flood stage", l.Flood
	}
	return "low watermark", l.Low
}

// Limits reads the cluster's settings, those of opensearch.yml and the defaults
// included.
func (t *Target) Limits(ctx context.Context) (Limits, error) {
	var answer struct{ Defaults, Persistent, Transient map[string]any }
	const path = "/_cluster/settings?include_defaults=true&flat_settings=true"
	if err := t.ask(ctx, http.MethodGet, path, nil, &answer); err != nil {
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
	for name, mark := range map[string]*Watermark{"low": &limits.Low, "high": &limits.High, "flood_stage": &limits.Flood} {
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

// Free is how much of a disk of total bytes has to stay free.
func (w Watermark) Free(total int64) int64 {
	if w.bytes > 0 {
		return w.bytes
	}
	return int64((1 - w.used) * float64(total))
}

// ParseWatermark reads a watermark as the settings have it: 85%, 0.85 or 50gb.
func ParseWatermark(text string) (Watermark, error) {
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		used, err := strconv.ParseFloat(percent, 64)
		if err != nil {
			return Watermark{}, fmt.Errorf("read watermark %q: %w", text, err)
		}
		return Watermark{text: text, used: used / 100}, nil
	}
	if used, err := strconv.ParseFloat(text, 64); err == nil {
		return Watermark{text: text, used: used}, nil
	}
	bytes, err := parseBytes(text)
	return Watermark{text: text, bytes: bytes}, err
}

// parseBytes reads a size as OpenSearch writes it: powers of 1024.
func parseBytes(text string) (int64, error) {
	lower := strings.ToLower(text)
	for i, unit := range []string{"kb", "mb", "gb", "tb", "pb", "b"} {
		digits, ok := strings.CutSuffix(lower, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			break
		}
		if unit == "b" {
			return int64(n), nil
		}
		return int64(n * float64(int64(1)<<(10*(i+1)))), nil
	}
	return 0, fmt.Errorf("read size %q: not a number with a unit", text)
}

// Access is what the security plugin says of the user.
type Access struct {
	Secured bool // there is a security plugin
	User    string
	Roles   []string
}

// Access asks the security plugin who the user is to it.
func (t *Target) Access(ctx context.Context) (Access, error) {
	var answer struct {
		User  string   `json:"user_name"`
		Roles []string `json:"roles"`
	}
	err := t.ask(ctx, http.MethodGet, "/_plugins/_security/authinfo", nil, &answer)
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed: // no such handler
		return Access{}, nil
	}
	if err != nil {
		return Access{}, err
	}
	return Access{Secured: true, User: answer.User, Roles: answer.Roles}, nil
}

// IsForbidden reports whether an error says that the user may not do that.
// Managed clusters answer so with a 401, to who may do other things.
func IsForbidden(err error) bool {
	status := statusOf(err)
	return status == http.StatusForbidden || status == http.StatusUnauthorized
}
