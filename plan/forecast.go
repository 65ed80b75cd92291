package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/inspect"
)

// Cost is what a migration of the days that are still to be copied would take.
type Cost struct {
	Rows           int64      `json:"estimated_rows"`
	SourceBytes    int64      `json:"estimated_source_bytes"`
	Factor         float64    `json:"disk_bytes_per_source_byte"`
	FactorFrom     string     `json:"factor_from"`   // probe, sealed_days or assumed
	PrimaryBytes   int64      `json:"primary_bytes"` // of the new documents
	TotalBytes     int64      `json:"total_bytes"`   // with replicas, before days are compacted
	CompactBytes   int64      `json:"compact_bytes"` // the same when all of them are compact
	MergeBytes     int64      `json:"merge_bytes"`   // that compacting takes beside them for a while, on each node
	NewIndices     int        `json:"new_indices"`   // days without one
	NewShards      int        `json:"new_shards"`    // with replicas that have a place
	BytesPerSecond float64    `json:"bytes_per_second,omitempty"`
	Seconds        float64    `json:"seconds,omitempty"` // 0: not known
	Nodes          []NodeRoom `json:"nodes,omitempty"`
	FitsSince      string     `json:"fits_since,omitempty"` // first of the newest days that the disks have room for
}

// NodeRoom is a data node's room before and after.
type NodeRoom struct {
	inspect.Disk
	Needed int64 `json:"needed_bytes"` // an even share, with merges
	Usable int64 `json:"usable_bytes"` // until the watermark that stops a load; may be negative
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

// compactFactor is the same of a day that is compact: its payloads are stored once
// (docs/benchmark.md).
func compactFactor(codec string) float64 {
	if codec == "default" || codec == "lz4" {
		return 1.01
	}
	return 0.77
}

// forecast reckons what a migration would take of a target that was looked at.
type forecast struct {
	*run
	to *targetSide
}

func (f *forecast) reckon() {
	cost := &Cost{}
	f.plan.Cost = cost
	var largest int64
	for _, d := range f.plan.Days {
		if d.Fate != DayCopy {
			continue
		}
		rest := f.remaining(d)
		cost.Rows += max(d.Rows, 0)
		cost.SourceBytes += rest
		largest = max(largest, d.Bytes)
		if !d.Exists {
			cost.NewIndices++
		}
	}
	cost.Factor, cost.FactorFrom = f.factor()
	cost.PrimaryBytes = int64(cost.Factor * float64(cost.SourceBytes))
	copies := int64(1 + f.placedReplicas())
	cost.TotalBytes = cost.PrimaryBytes * copies
	cost.CompactBytes = int64(compactFactor(f.to.preview.Codec)*float64(cost.SourceBytes)) * copies
	cost.MergeBytes = int64(cost.Factor * float64(largest) / float64(max(f.to.preview.Shards, 1)))
	cost.NewShards = cost.NewIndices * f.to.preview.Shards * int(copies)
	f.disk(cost)
	f.shards(cost)
	f.duration(cost)
}

// remaining is what is not yet copied of a day, in bytes at the source.
func (f *forecast) remaining(d Day) int64 {
	if f.state == nil || f.state.Days[d.Day] == nil {
		return d.Bytes
	}
	return max(d.Bytes-f.state.Days[d.Day].Bytes, 0)
}

// placedReplicas are those that have a node to be on.
func (f *forecast) placedReplicas() int {
	return min(f.to.preview.Replicas, max(f.to.holders()-1, 0))
}

// enoughBytes of data behind a measured factor make it worth more than an
// assumed one.
const enoughBytes = 10e6

// factor is disk bytes per source byte: measured by the probe, else by the
// days that an earlier run has sealed, else assumed.
func (f *forecast) factor() (factor float64, from string) {
	if p := f.plan.Probe; p != nil && float64(p.Bytes) >= enoughBytes {
		return float64(p.StoreBytes) / float64(p.Bytes), "probe"
	}
	var disk, data int64
	for _, e := range f.to.existing {
		if f.state == nil || e.Origin == nil || f.state.Days[e.Day.String()] == nil {
			continue
		}
		if day := f.state.Days[e.Day.String()]; !day.Sealed.IsZero() && day.Fates[node.Stored] == e.Docs {
			disk += e.Bytes
			data += day.Bytes
		}
	}
	if float64(data) >= enoughBytes {
		return float64(disk) / float64(data), "sealed_days"
	}
	return assumedFactor(f.to.preview.Codec), "assumed"
}

func (f *forecast) disk(cost *Cost) {
	if len(f.to.disks) == 0 || f.to.limits == nil {
		f.unknown(Forecast, "disk", fmt.Sprintf("about %s of disk are needed; whether the nodes have it may not be looked at", amount.Size(cost.TotalBytes)),
			"look at _nodes/stats with a user who may, or grant cluster_monitor")
		return
	}
	name, mark := f.to.limits.Mark(f.to.disks[0])
	share := cost.TotalBytes/int64(len(f.to.disks)) + cost.MergeBytes
	var room int64
	var short []string
	for _, d := range f.to.disks {
		usable := d.Available - f.to.limits.Reserve(d)
		cost.Nodes = append(cost.Nodes, NodeRoom{Disk: d, Needed: share, Usable: usable})
		room += max(usable-cost.MergeBytes, 0)
		if usable < share {
			short = append(short, fmt.Sprintf("%s has %s", d.Node, amount.Size(max(usable, 0))))
		}
	}
	cost.FitsSince = f.fitting(room)
	until := "until the disk is full (watermarks are off)"
	if f.to.limits.Enforced {
		until = fmt.Sprintf("until close to the %s of %s", name, mark)
	}
	need := fmt.Sprintf("about %s on each of %s at most, %s when all days are compact (%s per source byte %.2f, %d of each shard, merges %s)",
		amount.Size(share), amount.Of(int64(len(f.to.disks)), "node"), amount.Size(cost.CompactBytes/int64(len(f.to.disks))),
		strings.ReplaceAll(cost.FactorFrom, "_", " "), cost.Factor, 1+f.placedReplicas(), amount.Size(cost.MergeBytes))
	switch why := f.to.limits.NoRoom(f.to.disks, false); {
	case why != "":
		f.noGo(Forecast, "disk", fmt.Sprintf("%s: a copy would wait for room: %s", need, why), "make room, or add a node")
	case room < cost.TotalBytes:
		remedy := fmt.Sprintf("make or add %s of room, have fewer replicas, or copy fewer days", amount.Size(cost.TotalBytes-room))
		if cost.FitsSince != "" {
			remedy += ": those since " + cost.FitsSince + " fit"
		}
		f.add(Check{
			Side: Forecast, Name: "disk", State: NoGo, Detail: fmt.Sprintf("%s: %s %s", need, strings.Join(short, ", "), until), Lever: ChooseDays, Remedy: remedy,
		})
	case len(short) > 0:
		f.warn(Forecast, "disk", fmt.Sprintf("%s: %s %s; the others have to take more", need, strings.Join(short, ", "), until), "balance the nodes, or make room on that one")
	default:
		f.ok(Forecast, "disk", need+": there is room "+until)
	}
}

// fitting is the first of the newest days that fit into so many bytes on all nodes, or "".
func (f *forecast) fitting(room int64) (since string) {
	perByte := f.plan.Cost.Factor * float64(1+f.placedReplicas())
	for _, d := range slices.Backward(f.plan.Days) {
		if d.Fate != DayCopy {
			continue
		}
		if room -= int64(perByte * float64(f.remaining(d))); room < 0 {
			break
		}
		since = d.Day
	}
	return since
}

func (f *forecast) shards(cost *Cost) {
	if f.to.limits == nil || f.to.health == nil {
		f.unknown(Forecast, "shards", fmt.Sprintf("%d new shards; whether the cluster's limit allows them may not be looked at", cost.NewShards), "grant cluster_monitor")
		return
	}
	// The server counts replicas without a place too.
	added := cost.NewIndices * f.to.preview.Shards * (1 + f.to.preview.Replicas)
	limit := f.to.limits.ShardsPerNode * f.to.health.DataNodes
	there := f.to.health.ActiveShards + f.to.health.UnassignedShards
	text := fmt.Sprintf("%d are there, %d come with %d new daily indices, %d are allowed (%d on each of %s)",
		there, added, cost.NewIndices, limit, f.to.limits.ShardsPerNode, amount.Of(int64(f.to.health.DataNodes), "node"))
	if there+added > limit {
		f.noGo(Forecast, "shards", text, "raise cluster.max_shards_per_node, give the template fewer shards, or copy fewer days")
		return
	}
	f.ok(Forecast, "shards", text)
}

func (f *forecast) duration(cost *Cost) {
	from := "at the given speed"
	cost.BytesPerSecond = f.config.BytesPerSecond
	if p := f.plan.Probe; p != nil && p.Seconds > 0 {
		from = "at the speed of the probe"
		cost.BytesPerSecond = float64(p.Bytes) / p.Seconds
	}
	if cost.BytesPerSecond <= 0 {
		f.add(Check{
			Side: Forecast, Name: "duration", State: Unknown, Detail: amount.Size(cost.SourceBytes) + " are to be copied; how fast is not known",
			Remedy: "measure it, or say what speed to expect", Lever: MeasureSpeed,
		})
		return
	}
	cost.Seconds = float64(cost.SourceBytes) / cost.BytesPerSecond
	f.ok(Forecast, "duration", fmt.Sprintf("about %s for %s %s, %s/s",
		(time.Duration(cost.Seconds)*time.Second+time.Second).Round(time.Second), amount.Size(cost.SourceBytes), from, amount.Size(int64(cost.BytesPerSecond))))
}
