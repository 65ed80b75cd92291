package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

func (m *maker) checkCluster(ctx context.Context) {
	if m.target == nil {
		return
	}
	m.checkHealth(ctx)
	m.checkLimits(ctx)
	var limits target.Limits
	if m.limits != nil {
		limits = *m.limits
	}
	disks, err := m.target.Disks(ctx, limits)
	if err != nil {
		m.unknown(Target, "disks", err, "whether the nodes have room is not known")
		return
	}
	if len(disks) == 0 {
		m.add(Check{Target, "disks", NoGo, "no data node may hold a daily index", "correct the allocation filters (routing.allocation.require, include, exclude) in the index template and the cluster's settings"})
		return
	}
	m.disks = disks
	var texts []string
	for _, d := range disks {
		texts = append(texts, fmt.Sprintf("%s %s of %s free", d.Node, Bytes(d.Available), Bytes(d.Total)))
	}
	m.ok(Target, "disks", strings.Join(texts, "; "))
}

func (m *maker) checkHealth(ctx context.Context) {
	health, err := m.target.Health(ctx)
	if err != nil {
		m.unknown(Target, "health", err, "whether every shard has a node is not known")
		return
	}
	m.health = &health
	text := fmt.Sprintf("%s, %d data nodes, %d shards, %d without a node", health.Status, health.DataNodes, health.ActiveShards, health.UnassignedShards)
	switch health.Status {
	case "red":
		m.add(Check{Target, "health", NoGo, text + ": primaries are missing", "GET _cluster/allocation/explain says why; make the cluster yellow or green first"})
	case "yellow":
		m.add(Check{Target, "health", Warning, text + ": replicas are missing", "harmless on a single node; else GET _cluster/allocation/explain says why"})
	default:
		m.ok(Target, "health", text)
	}
}

func (m *maker) checkLimits(ctx context.Context) {
	limits, err := m.target.Limits(ctx)
	if err != nil {
		m.unknown(Target, "limits", err, "watermarks, shard limit and blocks of the cluster are not known")
		return
	}
	m.limits = &limits
	if limits.ReadOnly {
		m.add(Check{Target, "cluster_block", NoGo, "the cluster is read-only", `PUT _cluster/settings with null for cluster.blocks.read_only and cluster.blocks.read_only_allow_delete`})
	}
	switch limits.Allocation {
	case "all":
	case "primaries", "new_primaries":
		m.add(Check{Target, "allocation", Warning, "replicas are not allocated (cluster.routing.allocation.enable is " + limits.Allocation + ")", "set it to all, at the latest when the copy is over"})
	default:
		m.add(Check{Target, "allocation", NoGo, "no shard is allocated (cluster.routing.allocation.enable is " + limits.Allocation + ")", "set it to all"})
	}
}

// checkContract asks about every day that has no index yet.
func (m *maker) checkContract(ctx context.Context) {
	if m.target == nil || m.misnamed {
		return
	}
	preview, err := m.target.Preview(ctx, m.days()...)
	if err != nil {
		m.judge(Target, "contract", err, "whether the daily indices would fit Sentry's reader is not known")
		return
	}
	m.preview = &preview
	b := m.target.Backend()
	template := "index template " + b.Template + " is there"
	if !preview.TemplateExists {
		template = "index template " + b.Template + " is absent: migrate writes it as the backend would"
	}
	m.ok(Target, "contract", fmt.Sprintf("%s; codec %s, %d shards, %d replicas, behind alias %s", template, preview.Codec, preview.Shards, preview.Replicas, b.Alias))
	if len(preview.Overlapping) > 0 {
		m.add(Check{
			Target, "overlapping_templates", Warning,
			"further templates match the same names and lose: " + strings.Join(preview.Overlapping, ", "), "make sure that the losing ones are not the ones that you want",
		})
	}
	if b.Prefixed() {
		m.add(Check{
			Target, "cleanup", Warning, fmt.Sprintf("the backend's cleanup cannot read the date of indices named %s and never removes them", b.Index),
			"remove old ones yourself, for example with an index state management policy",
		})
	}
	if nodes := m.holders(); preview.Replicas >= nodes {
		m.add(Check{
			Target, "replicas", Warning,
			fmt.Sprintf("%d replicas on %d nodes that may hold a daily index: some will never have a place, and the cluster stays yellow", preview.Replicas, nodes),
			"set SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_REPLICA and the template to what the nodes can hold",
		})
	}
}

// days are those that are planned, or today, in order.
func (m *maker) days() []node.Day {
	days := make([]node.Day, 0, len(m.plan.Days))
	for _, day := range m.plan.Days {
		days = append(days, day.planned)
	}
	if len(days) == 0 {
		return []node.Day{node.DayOf(m.now)}
	}
	return days
}

func (m *maker) newestDay() node.Day {
	days := m.days()
	return days[len(days)-1]
}

func (m *maker) checkExisting(ctx context.Context) {
	if m.target == nil {
		return
	}
	existing, err := m.target.Existing(ctx)
	if err != nil {
		m.misnamed = !target.IsForbidden(err)
		m.judge(Target, "indices", err, "whether indices are there already is not known")
		return
	}
	m.existing = existing
	there := make(map[string]bool)
	for _, e := range existing {
		there[e.Name] = true
		m.checkIndex(e)
	}
	for i := range m.plan.Days {
		m.plan.Days[i].Exists = there[m.plan.Days[i].Index]
	}
	ours, foreign := 0, 0
	for _, e := range existing {
		if e.Origin == nil {
			foreign++
			continue
		}
		ours++
	}
	m.ok(Target, "indices", fmt.Sprintf("%d of this tool and %d others, behind alias %s or named like daily indices", ours, foreign, m.target.Backend().Alias))
}

func (m *maker) checkIndex(e target.Existing) {
	switch {
	case e.Problem() != "":
		m.add(Check{Target, "index", NoGo, "index " + e.Name + ": " + e.Problem(), e.Remedy()})
	case len(e.Blocks) > 0:
		m.add(Check{
			Target, "index_block", NoGo, fmt.Sprintf("index %s refuses writes (%s)", e.Name, strings.Join(e.Blocks, ", ")),
			"make room if the disk is full, then set the block to null in its settings",
		})
	case !e.Durable():
		m.add(Check{
			Target, "durability", NoGo, fmt.Sprintf("index %s has index.translog.durability=async: what it takes may be lost", e.Name),
			"set it to request for that index while it is migrated",
		})
	case !e.Daily:
		m.add(Check{Target, "strange_index", Warning, fmt.Sprintf("index %s behind the alias is not named like a daily index: the cleanup of some backends stops at it", e.Name), ""})
	case e.Health == "red":
		m.add(Check{Target, "index_health", NoGo, "index " + e.Name + " is red: a primary is missing", "GET _cluster/allocation/explain says why"})
	case e.Loading() && m.state == nil:
		m.add(Check{
			Target, "loading_settings", Warning, fmt.Sprintf("index %s still has the settings of a load, and the checkpoint of that run is not here", e.Name),
			"name that run's file with --checkpoint, and run migrate or migrate --restore-settings",
		})
	}
}

// checkOrigin refuses what migrate would: an alias that another source fills.
func (m *maker) checkOrigin(ctx context.Context) {
	if m.target == nil || m.source == nil || m.misnamed {
		return
	}
	if err := m.target.CheckOrigin(ctx, m.origins()); err != nil {
		m.judge(Target, "origin", err, "whose nodes are behind the alias is not known")
		return
	}
	m.ok(Target, "origin", "nothing behind the alias is another source's")
}

// origins begin with what migrate would write into its indices: what this run does
// not know is taken from the checkpoint.
func (m *maker) origins() target.Origins {
	id := m.source.Identity()
	origin := target.Origin{System: id.System, Database: id.Database, Table: id.Table, Region: m.config.Region}
	if m.state == nil {
		return target.Origins{origin}
	}
	recorded := m.state.Binding.Source
	if origin.Region == "" {
		origin.Region = recorded.Region
	}
	if origin.System == "" {
		origin.System = recorded.System
	}
	origins := target.Origins{origin}
	for _, s := range m.state.Binding.Earlier {
		origins = append(origins, target.Origin{System: s.System, Database: s.Database, Table: s.Table, Region: s.Region})
	}
	return origins
}

// privileges are what a migration does on the target, as the security plugin
// calls it.
const privileges = "needed are cluster_monitor and manage_index_templates on the cluster, and crud, create_index and manage on the daily indices and the alias"

// checkAccess looks up what can be: the plugin tells a user's roles, but only
// an administrator may read what they allow.
func (m *maker) checkAccess(ctx context.Context) {
	if m.target == nil {
		return
	}
	access, err := m.target.Access(ctx)
	switch {
	case err != nil:
		m.unknown(Target, "privileges", err, "what the user may write is not known; "+privileges)
	case !access.Secured:
		m.ok(Target, "privileges", "no security plugin: everybody may do everything")
	case slices.Contains(access.Roles, "all_access"):
		m.ok(Target, "privileges", fmt.Sprintf("user %s has the role all_access", access.User))
	default:
		m.add(Check{Target, "privileges", Unknown, fmt.Sprintf("user %s has the roles %s; what these may write is seen when it is tried", access.User, strings.Join(access.Roles, ", ")), privileges})
	}
}

func (m *maker) checkLeftovers(ctx context.Context) {
	if m.target == nil {
		return
	}
	names, err := m.target.Scratches(ctx)
	if err != nil {
		m.unknown(Target, "scratch_indices", err, "whether an earlier plan left one is not known")
		return
	}
	for _, name := range names {
		m.add(Check{Target, "scratch_indices", Warning, "scratch index " + name + " is there: another plan runs, or one was killed", "if none runs: DELETE /" + name})
	}
}
