package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/target/inspect"
)

// targetSide looks at the target.
type targetSide struct {
	*run
	existing []target.Holding
	misnamed bool // the alias is an index: nothing else can be said of the indices
	preview  *target.Preview
	health   *inspect.Health
	limits   *inspect.Limits
	disks    []inspect.Disk
}

func (t *targetSide) open(ctx context.Context) {
	opened, err := target.Open(ctx, t.config.Target)
	if err != nil {
		t.refuse(Target, "open", err)
		return
	}
	t.target = opened
	id := opened.Identity()
	t.ok(Target, "open", "OpenSearch "+id.Version+", cluster "+id.ClusterName)
}

func (t *targetSide) checkCluster(ctx context.Context) {
	t.checkHealth(ctx)
	t.checkLimits(ctx)
	var limits inspect.Limits
	if t.limits != nil {
		limits = *t.limits
	}
	disks, err := inspect.Disks(ctx, t.target, limits)
	if err != nil {
		t.unseen(Target, "disks", err, "whether the nodes have room is not known")
		return
	}
	if len(disks) == 0 {
		t.noGo(Target, "disks", "no data node may hold a daily index",
			"correct the allocation filters (routing.allocation.require, include, exclude) in the index template and the cluster's settings")
		return
	}
	t.disks = disks
	var texts []string
	for _, d := range disks {
		texts = append(texts, fmt.Sprintf("%s %s of %s free", d.Node, amount.Size(d.Available), amount.Size(d.Total)))
	}
	t.ok(Target, "disks", strings.Join(texts, "; "))
}

func (t *targetSide) checkHealth(ctx context.Context) {
	health, err := inspect.HealthOf(ctx, t.target)
	if err != nil {
		t.unseen(Target, "health", err, "whether every shard has a node is not known")
		return
	}
	t.health = &health
	text := fmt.Sprintf("%s, %s, %s, %d without a node", health.Status, amount.Of(int64(health.DataNodes), "data node"), amount.Of(int64(health.ActiveShards), "shard"), health.UnassignedShards)
	switch health.Status {
	case "red":
		t.noGo(Target, "health", text+": primaries are missing", "GET _cluster/allocation/explain says why; make the cluster yellow or green first")
	case "yellow":
		t.warn(Target, "health", text+": replicas are missing", "harmless on a single node; else GET _cluster/allocation/explain says why")
	default:
		t.ok(Target, "health", text)
	}
}

func (t *targetSide) checkLimits(ctx context.Context) {
	limits, err := inspect.LimitsOf(ctx, t.target)
	if err != nil {
		t.unseen(Target, "limits", err, "watermarks, shard limit and blocks of the cluster are not known")
		return
	}
	t.limits = &limits
	if limits.ReadOnly {
		t.noGo(Target, "cluster_block", "the cluster is read-only", `PUT _cluster/settings with null for cluster.blocks.read_only and cluster.blocks.read_only_allow_delete`)
	}
	switch limits.Allocation {
	case "all":
	case "primaries", "new_primaries":
		t.warn(Target, "allocation", "replicas are not allocated (cluster.routing.allocation.enable is "+limits.Allocation+")", "set it to all, at the latest when the copy is over")
	default:
		t.noGo(Target, "allocation", "no shard is allocated (cluster.routing.allocation.enable is "+limits.Allocation+")", "set it to all")
	}
}

// checkContract asks about every day that has no index yet.
func (t *targetSide) checkContract(ctx context.Context) {
	if t.misnamed {
		return
	}
	preview, err := t.target.Preview(ctx, t.days()...)
	if err != nil {
		t.refuseUnlessHidden(Target, "contract", err, "whether the daily indices would fit Sentry's reader is not known")
		return
	}
	t.preview = &preview
	b := t.target.Backend()
	template := "index template " + b.Template + " is there"
	if !preview.TemplateExists {
		template = "index template " + b.Template + " is absent: migrate writes it as the backend would"
	}
	t.ok(Target, "contract", fmt.Sprintf("%s; codec %s, %s, %s, behind alias %s", template, preview.Codec, amount.Of(int64(preview.Shards), "shard"), amount.Of(int64(preview.Replicas), "replica"), b.Alias))
	if len(preview.Overlapping) > 0 {
		t.warn(Target, "overlapping_templates", "further templates match the same names and lose: "+strings.Join(preview.Overlapping, ", "), "make sure that the losing ones are not the ones that you want")
	}
	if b.Prefixed() {
		t.warn(Target, "cleanup", fmt.Sprintf("the backend's cleanup cannot read the date of indices named %s and never removes them", b.Index),
			"remove old ones yourself, for example with an index state management policy")
	}
	if nodes := t.holders(); preview.Replicas >= nodes {
		t.warn(Target, "replicas", fmt.Sprintf("%d replicas on %d nodes that may hold a daily index: some will never have a place, and the cluster stays yellow", preview.Replicas, nodes),
			"set SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_REPLICA and the template to what the nodes can hold")
	}
}

// holders is how many nodes may hold a daily index; as many as it needs if that is
// not known.
func (t *targetSide) holders() int {
	switch {
	case len(t.disks) > 0:
		return len(t.disks)
	case t.health != nil:
		return t.health.DataNodes
	}
	return t.preview.Replicas + 1
}

func (t *targetSide) checkExisting(ctx context.Context) {
	existing, err := t.target.AllHoldings(ctx)
	if err != nil {
		t.misnamed = !cluster.IsForbidden(err)
		t.refuseUnlessHidden(Target, "indices", err, "whether indices are there already is not known")
		return
	}
	t.existing = existing
	there := make(map[string]bool)
	for _, e := range existing {
		there[e.Name] = true
		t.checkIndex(e)
	}
	for i := range t.plan.Days {
		t.plan.Days[i].Exists = there[t.plan.Days[i].Index]
	}
	ours, foreign := 0, 0
	for _, e := range existing {
		if e.Origin == nil {
			foreign++
			continue
		}
		ours++
	}
	t.ok(Target, "indices", fmt.Sprintf("%d of this tool and %d others, behind alias %s or named like daily indices", ours, foreign, t.target.Backend().Alias))
}

func (t *targetSide) checkIndex(e target.Holding) {
	switch {
	case e.Problem() != "":
		t.noGo(Target, "index", "index "+e.Name+": "+e.Problem(), e.Remedy())
	case len(e.Blocks()) > 0:
		t.noGo(Target, "index_block", fmt.Sprintf("index %s refuses writes (%s)", e.Name, strings.Join(e.Blocks(), ", ")),
			"make room if the disk is full, then set the block to null in its settings")
	case !e.Durable():
		t.noGo(Target, "durability", fmt.Sprintf("index %s has index.translog.durability=async: what it takes may be lost", e.Name),
			"set it to request for that index while it is migrated")
	case !e.Daily:
		t.warn(Target, "strange_index", fmt.Sprintf("index %s behind the alias is not named like a daily index: the cleanup of some backends stops at it", e.Name), "")
	case e.Health == "red":
		t.noGo(Target, "index_health", "index "+e.Name+" is red: a primary is missing", "GET _cluster/allocation/explain says why")
	case e.Loading() && t.state == nil:
		t.add(Check{
			Side: Target, Name: "loading_settings", State: Warning, Lever: NameCheckpoint,
			Detail: fmt.Sprintf("index %s still has the settings of a load, and the checkpoint of that run is not here", e.Name),
			Remedy: "run migrate with that run's checkpoint, or have it only give the settings back",
		})
	}
}

// checkOrigin refuses what migrate would: an alias that another source fills.
func (t *targetSide) checkOrigin(ctx context.Context) {
	if t.source == nil || t.misnamed {
		return
	}
	if err := t.target.CheckOrigin(ctx, t.origins()); err != nil {
		t.refuseUnlessHidden(Target, "origin", err, "whose nodes are behind the alias is not known")
		return
	}
	t.ok(Target, "origin", "nothing behind the alias is another source's")
}

// origins begin with what migrate would write into its indices: what this run does
// not know is taken from the checkpoint.
func (t *targetSide) origins() target.Origins {
	origin := target.Origin{Origin: t.source.Origin(t.config.Region)}
	if t.state == nil {
		return target.Origins{origin}
	}
	recorded := t.state.Binding.Source
	if origin.Region == "" {
		origin.Region = recorded.Region
	}
	if origin.System == "" {
		origin.System = recorded.System
	}
	origins := target.Origins{origin}
	for _, s := range t.state.Binding.Earlier {
		origins = append(origins, target.Origin{Origin: s})
	}
	return origins
}

// privileges are what is said of a user whose roles cannot be looked into.
const privileges = "needed are " + cluster.Privileges

// checkAccess looks up what can be: the plugin tells a user's roles, but only
// an administrator may read what they allow.
func (t *targetSide) checkAccess(ctx context.Context) {
	access, err := inspect.AccessOf(ctx, t.target)
	switch {
	case err != nil:
		t.unseen(Target, "privileges", err, "what the user may write is not known; "+privileges)
	case !access.Secured:
		t.ok(Target, "privileges", "no security plugin: everybody may do everything")
	case slices.Contains(access.Roles, "all_access"):
		t.ok(Target, "privileges", fmt.Sprintf("user %s has the role all_access", access.User))
	default:
		t.unknown(Target, "privileges", fmt.Sprintf("user %s has the roles %s; what these may write is seen when it is tried", access.User, strings.Join(access.Roles, ", ")), privileges)
	}
}

func (t *targetSide) checkLeftovers(ctx context.Context) {
	names, err := inspect.Scratches(ctx, t.target)
	if err != nil {
		t.unseen(Target, "scratch_indices", err, "whether an earlier plan left one is not known")
		return
	}
	for _, name := range names {
		t.warn(Target, "scratch_indices", "scratch index "+name+" is there: another plan runs, or one was killed", "if none runs: DELETE /"+name)
	}
	stages, err := inspect.Stages(ctx, t.target)
	if err != nil {
		t.unseen(Target, "rehearsals", err, "whether an earlier rehearsal left something is not known")
		return
	}
	for _, name := range stages {
		t.warn(Target, "rehearsals", "indices "+name+"-* are there: a rehearsal runs, or one was killed", "if none runs, the first rehearsal a day later removes them; or DELETE them and /_index_template/"+name)
	}
}
