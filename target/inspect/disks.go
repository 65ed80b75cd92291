package inspect

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Disk is the room of one data node, in bytes.
type Disk struct {
	Node      string `json:"node"`
	Total     int64  `json:"total_bytes"`
	Available int64  `json:"available_bytes"`
	Only      bool   `json:"-"` // the cluster has no other data node
}

// Used is the part of the disk that is not available, 0 to 1.
func (d Disk) Used() float64 { return 1 - float64(d.Available)/float64(max(d.Total, 1)) }

// member is a node of the cluster with its disk.
type member struct {
	Name, Host, IP string
	Roles          []string
	Attributes     map[string]string
	FS             struct {
		Total struct {
			Total     int64 `json:"total_in_bytes"`
			Available int64 `json:"available_in_bytes"`
		}
	}
}

// Disks lists, by name, the nodes that may hold a new daily index, with their
// room: the data nodes that the allocation filters of the cluster and of the
// index templates let have it.
func Disks(ctx context.Context, t *target.Target, l Limits) ([]Disk, error) {
	var answer struct{ Nodes map[string]member }
	const request = "/_nodes/stats/fs?filter_path=nodes.*.name,nodes.*.host,nodes.*.ip,nodes.*.roles,nodes.*.attributes,nodes.*.fs.total"
	if err := t.Ask(ctx, http.MethodGet, request, nil, &answer); err != nil {
		return nil, err
	}
	like, err := t.Simulate(ctx, t.Backend().IndexOf(node.DayOf(time.Now().UnixMicro())))
	if err != nil {
		return nil, err
	}
	ofIndex, data := filters(like.Settings, "index"), 0
	var disks []Disk
	for id, n := range answer.Nodes {
		if !slices.Contains(n.Roles, "data") { // those of other tiers hold no index that is written to
			continue
		}
		data++
		if n.passes(id, l.filters) && n.passes(id, ofIndex) {
			disks = append(disks, Disk{Node: n.Name, Total: n.FS.Total.Total, Available: n.FS.Total.Available})
		}
	}
	for i := range disks {
		disks[i].Only = data == 1
	}
	sort.Slice(disks, func(i, j int) bool { return disks[i].Node < disks[j].Node })
	return disks, nil
}

// passes reports whether filters let a node have shards: it has all that they
// require, something of what they include, and nothing that they exclude.
func (n member) passes(id string, filters map[string]string) bool {
	included, some := false, false
	for rule, patterns := range filters {
		kind, attribute, _ := strings.Cut(rule, ".")
		has := n.has(id, attribute, patterns)
		switch {
		case kind == "require" && !has, kind == "exclude" && has:
			return false
		case kind == "include":
			included, some = included || has, true
		}
	}
	return included || !some
}

// has reports whether an attribute of the node is one of those in a list.
func (n member) has(id, attribute, patterns string) bool {
	ip, _, _ := net.SplitHostPort(n.IP)
	own := []string{n.Host, ip}
	switch attribute {
	case "_id":
		own = []string{id}
	case "_name":
		own = []string{n.Name}
	case "_ip", "_host", "_host_ip", "_publish_ip":
	default:
		value, ok := n.Attributes[attribute]
		if !ok {
			return false
		}
		own = []string{value}
	}
	for pattern := range strings.SplitSeq(patterns, ",") {
		if slices.ContainsFunc(own, func(value string) bool { hit, _ := path.Match(strings.TrimSpace(pattern), value); return hit }) {
			return true
		}
	}
	return false
}

// Mark is the watermark that ends a load on a node: the cluster's only one is
// filled until the flood stage, unless the settings say otherwise.
func (l Limits) Mark(d Disk) (name string, mark Watermark) {
	if d.Only && !l.SingleNodeToo {
		return "flood stage", l.Flood
	}
	return "low watermark", l.Low
}

const (
	// roomMargin is the share of a disk, beside what a watermark asks for, that a
	// load leaves free: merges and what is under way still need room.
	roomMargin = 0.02
	// roomEasing is how much more has to be free for a load that waits to resume.
	roomEasing = 0.01
)

// Reserve is what a load leaves free on a node's disk, in bytes.
func (l Limits) Reserve(d Disk) int64 {
	if !l.Enforced {
		return 0
	}
	_, mark := l.Mark(d)
	return mark.Free(d.Total) + int64(roomMargin*float64(d.Total))
}

// NoRoom says why a load has to wait for room, or "": every node that may
// hold the index has reached the mark, so that none takes new shards, or one comes close to the flood stage, at
// which the indices on it refuse writes. A load that waits already wants more.
func (l Limits) NoRoom(disks []Disk, waits bool) (why string) {
	if !l.Enforced {
		return ""
	}
	full := 0
	for _, d := range disks {
		kept := l.Reserve(d)
		flood := l.Flood.Free(d.Total) + int64(roomMargin*float64(d.Total))
		if waits {
			kept += int64(roomEasing * float64(d.Total))
			flood += int64(roomEasing * float64(d.Total))
		}
		text := fmt.Sprintf("%s's disk is at %.0f %%, low watermark %s, flood stage %s", d.Node, 100*d.Used(), l.Low.shown(), l.Flood.shown())
		if d.Available <= flood {
			return text
		}
		if d.Available <= kept {
			full, why = full+1, text
		}
	}
	if full < len(disks) {
		return ""
	}
	return why
}
