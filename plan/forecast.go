package plan

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// Cost is what a migration of the days that are still to be copied would take.
type Cost struct {
	Rows           int64      `json:"rows_estimated"`
	SourceBytes    int64      `json:"source_bytes_estimated"`
	Factor         float64    `json:"disk_bytes_per_source_byte"`
	FactorFrom     string     `json:"factor_from"`   // probe, existing indices, or assumed
	PrimaryBytes   int64      `json:"primary_bytes"` // of the new documents
	TotalBytes     int64      `json:"total_bytes"`   // with replicas, without merges
	MergeBytes     int64      `json:"merge_bytes"`   // that merging takes beside them for a while, on each node
	NewIndices     int        `json:"new_indices"`   // days without one
	NewShards      int        `json:"new_shards"`    // with replicas that have a place
	BytesPerSecond float64    `json:"bytes_per_second,omitempty"`
	Seconds        float64    `json:"seconds,omitempty"` // 0: not known
	Nodes          []NodeRoom `json:"nodes,omitempty"`
}

// NodeRoom is a data node's room before and after.
type NodeRoom struct {
	target.Disk
	Needed int64 `json:"needed"` // an even share, with merges
	Usable int64 `json:"usable"` // until the watermark that stops a load; may be negative
}

// assumedFactor is the disk space of a byte of data by codec, where nothing
// was measured here. base64 of zlib is stored twice until a merge drops the
// copy that replicas recover from; measured on 2.19.4 with 50 MB of synthetic
// events in one segment: best_compression 1.01, default 1.78. zstd was not
// measured; it compresses no worse than best_compression.
func assumedFactor(codec string) float64 {
	if codec == "default" || codec == "lz4" {
		return 1.8
	}
	return 1.05
}

// maxMergeBytes is the largest segment that the server merges to by itself.
const maxMergeBytes = 5 << 30

func (m *maker) forecast(context.Context) {
	if m.preview == nil || len(m.plan.Days) == 0 {
		return
	}
	cost := &Cost{}
	m.plan.Cost = cost
	var largest int64
	for _, d := range m.plan.Days {
		if d.Fate != DayCopy {
			continue
		}
		rest := m.remaining(d)
		cost.Rows += max(d.Rows, 0)
		cost.SourceBytes += rest
		largest = max(largest, d.Bytes)
		if !d.Exists {
			cost.NewIndices++
		}
	}
	cost.Factor, cost.FactorFrom = m.factor()
	cost.PrimaryBytes = int64(cost.Factor * float64(cost.SourceBytes))
	copies := int64(1 + m.placedReplicas())
	cost.TotalBytes = cost.PrimaryBytes * copies
	shard := int64(cost.Factor * float64(largest) / float64(max(m.preview.Shards, 1)))
	cost.MergeBytes = min(shard, maxMergeBytes)
	cost.NewShards = cost.NewIndices * m.preview.Shards * int(copies)
	m.forecastDisk(cost)
	m.forecastShards(cost)
	m.forecastTime(cost)
}

// remaining is what is not yet copied of a day, in bytes at the source.
func (m *maker) remaining(d Day) int64 {
	if m.state == nil || m.state.Days[d.Day] == nil {
		return d.Bytes
	}
	return max(d.Bytes-m.state.Days[d.Day].Bytes, 0)
}

// placedReplicas are those that have a node to be on.
func (m *maker) placedReplicas() int {
	return min(m.preview.Replicas, max(m.holders()-1, 0))
}

// holders is how many nodes may hold a daily index; as many as it needs if that is not known.
func (m *maker) holders() int {
	switch {
	case len(m.disks) > 0:
		return len(m.disks)
	case m.health != nil:
		return m.health.DataNodes
	}
	return m.preview.Replicas + 1
}

// enoughBytes of data behind a measured factor make it worth more than an
// assumed one.
const enoughBytes = 10e6

// factor is disk bytes per source byte: measured by the probe, else by the
// days that an earlier run has sealed, else assumed.
func (m *maker) factor() (factor float64, from string) {
	if p := m.plan.Probe; p != nil && float64(p.Bytes) >= enoughBytes {
		return float64(p.StoreBytes) / float64(p.Bytes), "probe"
	}
	var disk, data int64
	for _, e := range m.existing {
		if m.state == nil || e.Origin == nil || m.state.Days[e.Day.String()] == nil {
			continue
		}
		if day := m.state.Days[e.Day.String()]; !day.Sealed.IsZero() && day.Fates[node.Stored] == e.Docs {
			disk += e.Bytes
			data += day.Bytes
		}
	}
	if float64(data) >= enoughBytes {
		return float64(disk) / float64(data), "sealed days"
	}
	return assumedFactor(m.preview.Codec), "assumed"
}

func (m *maker) forecastDisk(cost *Cost) {
	if len(m.disks) == 0 || m.limits == nil {
		m.add(Check{
			Forecast, "disk", Unknown, fmt.Sprintf("about %s of disk are needed; whether the nodes have it may not be looked at", Bytes(cost.TotalBytes)),
			"look at _nodes/stats with a user who may, or grant cluster_monitor",
		})
		return
	}
	name, mark := m.limits.Mark(m.disks[0])
	share := cost.TotalBytes/int64(len(m.disks)) + cost.MergeBytes
	var room int64
	var short []string
	for _, d := range m.disks {
		usable := d.Available - m.limits.Reserve(d)
		cost.Nodes = append(cost.Nodes, NodeRoom{Disk: d, Needed: share, Usable: usable})
		room += max(usable-cost.MergeBytes, 0)
		if usable < share {
			short = append(short, fmt.Sprintf("%s has %s", d.Node, Bytes(max(usable, 0))))
		}
	}
	until := "until the disk is full (watermarks are off)"
	if m.limits.Enforced {
		until = fmt.Sprintf("until close to the %s of %s", name, mark)
	}
	need := fmt.Sprintf("about %s on each of %d nodes (%s per source byte %.2f, %d copies, merges %s)",
		Bytes(share), len(m.disks), cost.FactorFrom, cost.Factor, 1+m.placedReplicas(), Bytes(cost.MergeBytes))
	switch why := m.limits.NoRoom(m.disks, false); {
	case why != "":
		m.add(Check{Forecast, "disk", NoGo, fmt.Sprintf("%s: a copy would wait for room: %s", need, why), "make room, or add a node"})
	case room < cost.TotalBytes:
		m.add(Check{
			Forecast, "disk", NoGo, fmt.Sprintf("%s: %s %s", need, strings.Join(short, ", "), until),
			fmt.Sprintf("make or add %s of room, copy fewer days (--since, --retention), or have fewer replicas", Bytes(cost.TotalBytes-room)),
		})
	case len(short) > 0:
		m.add(Check{Forecast, "disk", Warning, fmt.Sprintf("%s: %s %s; the others have to take more", need, strings.Join(short, ", "), until), "balance the nodes, or make room on that one"})
	default:
		m.ok(Forecast, "disk", need+": there is room "+until)
	}
}

func (m *maker) forecastShards(cost *Cost) {
	if m.limits == nil || m.health == nil {
		m.add(Check{Forecast, "shards", Unknown, fmt.Sprintf("%d new shards; whether the cluster's limit allows them may not be looked at", cost.NewShards), "grant cluster_monitor"})
		return
	}
	// The server counts replicas without a place too.
	added := cost.NewIndices * m.preview.Shards * (1 + m.preview.Replicas)
	limit := m.limits.ShardsPerNode * m.health.DataNodes
	there := m.health.ActiveShards + m.health.UnassignedShards
	text := fmt.Sprintf("%d are there, %d come with %d new daily indices, %d are allowed (%d on each of %d nodes)",
		there, added, cost.NewIndices, limit, m.limits.ShardsPerNode, m.health.DataNodes)
	if there+added > limit {
		m.add(Check{Forecast, "shards", NoGo, text, "raise cluster.max_shards_per_node, give the template fewer shards, or copy fewer days"})
		return
	}
	m.ok(Forecast, "shards", text)
}

func (m *maker) forecastTime(cost *Cost) {
	from := "at the given speed"
	cost.BytesPerSecond = m.config.BytesPerSecond
	if p := m.plan.Probe; p != nil && p.Seconds > 0 {
		from = "at the speed of the probe"
		cost.BytesPerSecond = float64(p.Bytes) / p.Seconds
	}
	if cost.BytesPerSecond <= 0 {
		m.add(Check{
			Forecast, "duration", Unknown, fmt.Sprintf("%s are to be copied; how fast is not known", Bytes(cost.SourceBytes)),
			"measure it with --probe, or give --mb-per-second",
		})
		return
	}
	cost.Seconds = float64(cost.SourceBytes) / cost.BytesPerSecond
	m.ok(Forecast, "duration", fmt.Sprintf("about %s for %s %s, %s/s",
		(time.Duration(cost.Seconds)*time.Second+time.Second).Round(time.Second), Bytes(cost.SourceBytes), from, Bytes(int64(cost.BytesPerSecond))))
}
