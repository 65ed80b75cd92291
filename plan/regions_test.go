package plan

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// regional gives the world the names that docs/silos.md gives a region on a
// shared cluster. The test's own name stands for "sentry" in them.
func (w *world) regional(family, region string) {
	w.t.Helper()
	environment := map[string]string{
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_PREFIX":  family + region,
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN": "sentry-" + family + region + "-*",
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC":   "best_compression",
	}
	name := "sentry-nodes-" + family + region
	backend, err := target.BackendFromEnv(func(variable string) string { return environment[variable] }, target.Custom{Alias: name, Template: name})
	if err != nil {
		w.t.Fatal(err)
	}
	w.config.Target.Backend, w.config.Region = backend, region
	w.t.Cleanup(func() {
		w.call(http.MethodDelete, "/"+backend.Pattern, "")
		w.call(http.MethodDelete, "/_index_template/"+name, "")
	})
}

// loads does what a migration begins with: the template, and an index that
// says where its nodes come from.
func (w *world) loads() {
	w.t.Helper()
	ctx := w.t.Context()
	to, err := target.Open(ctx, w.config.Target)
	if err != nil {
		w.t.Fatal(err)
	}
	defer to.Close()
	if _, err := to.EnsureTemplate(ctx); err != nil {
		w.t.Fatal(err)
	}
	day, err := node.ParseDay("2024-03-01")
	if err != nil {
		w.t.Fatal(err)
	}
	name := to.Backend().IndexOf(day)
	loan, err := to.Loan(ctx, name)
	if err != nil {
		w.t.Fatal(err)
	}
	origin := target.Origin{Origin: node.Origin{Database: w.conn.Config().Database, Table: "public.nodestore_node", Region: w.config.Region}}
	if err := to.Create(ctx, name, loan, origin); err != nil {
		w.t.Fatal(err)
	}
}

// Three regions share a cluster under the names of docs/silos.md, and none can
// get behind another's alias.
func TestThreeRegionsOnOneCluster(t *testing.T) {
	first := newWorld(t)
	server, family := first.server, strings.TrimPrefix(first.config.Target.Backend.Alias, "nm-")
	worlds := map[string]*world{"us": first, "de": worldOn(t, newestDatabase(t), server), "fr": worldOn(t, newestDatabase(t), server)}
	for _, region := range []string{"us", "de", "fr"} {
		w := worlds[region]
		w.regional(family, region)
		if made := w.plan(); !made.Go {
			t.Fatalf("%s is refused by %+v", region, made.Reasons(NoGo))
		}
		if c := find(t, w.plan(), Target, "cleanup"); c.State != Warning {
			t.Errorf("%s: %+v", region, c)
		}
		w.loads()
		if made := w.plan(); !made.Go || len(made.Days) != 3 || !made.Days[0].Exists || made.Days[1].Exists {
			t.Errorf("%s: go %v, days %+v", region, made.Go, made.Days)
		}
	}
	wrong := worlds["de"]
	wrong.config.Target.Backend = worlds["us"].config.Target.Backend
	refusal{side: Target, check: "origin", detail: "was filled from region us", remedy: string(target.OtherOrigin)}.verify(wrong)
}
