package plan

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	reached "github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// ownCluster starts an OpenSearch for states that would be in the way of other tests.
func ownCluster(t *testing.T, options testbed.OpenSearchOptions) *testbed.OpenSearch {
	t.Helper()
	options.Quick = true
	server, err := testbed.StartOpenSearch(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// ownPostgres starts a server of the test's own.
func ownPostgres(t *testing.T, options testbed.PostgresOptions) *testbed.Postgres {
	t.Helper()
	server, err := testbed.StartPostgres(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func newestDatabase(t *testing.T) string {
	t.Helper()
	versions := testservers.PostgresVersions()
	return testservers.Postgres(t, versions[len(versions)-1])
}

// clusterRefusals are states of a whole cluster. Each undoes what it did.
func clusterRefusals() []refusal {
	settings := func(body string) func(*world) {
		return func(w *world) {
			w.must(http.MethodPut, "/_cluster/settings", `{"transient":{`+body+`}}`)
			name, _, _ := strings.Cut(body, ":")
			w.t.Cleanup(func() { w.call(http.MethodPut, "/_cluster/settings", `{"transient":{`+name+`:null}}`) })
		}
	}
	return []refusal{
		{
			name: "no allocation", state: settings(`"cluster.routing.allocation.enable":"none"`),
			side: Target, check: "allocation", detail: "no shard is allocated", remedy: "set it to all",
		},
		{
			name: "no node passes the filters", state: settings(`"cluster.routing.allocation.require._name":"nobody"`),
			side: Target, check: "disks", detail: "no data node may hold a daily index", remedy: "allocation filters",
		},
		{
			name: "too many shards", state: settings(`"cluster.max_shards_per_node":"2"`),
			side: Forecast, check: "shards", detail: "3 come with 3 new daily indices, 2 are allowed", remedy: "raise cluster.max_shards_per_node",
		},
		{
			name: "disk full", state: func(w *world) {
				const disk = `"cluster.routing.allocation.disk.`
				w.must(http.MethodPut, "/_cluster/settings", `{"transient":{`+disk+`threshold_enabled":true,`+
					disk+`watermark.low":"9000tb",`+disk+`watermark.high":"9000tb",`+disk+`watermark.flood_stage":"9000tb"}}`)
				w.t.Cleanup(func() {
					w.call(http.MethodPut, "/_cluster/settings", `{"transient":{"cluster.routing.allocation.disk.*":null}}`)
				})
			},
			side: Forecast, check: "disk", detail: "a copy would wait for room", remedy: "make room",
		},
		{
			name: "red cluster", state: func(w *world) {
				w.must(http.MethodPut, "/red?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"nowhere"}}`)
				w.t.Cleanup(func() { w.call(http.MethodDelete, "/red", "") })
			},
			side: Target, check: "health", detail: "red", remedy: "_cluster/allocation/explain",
		},
		{
			name: "read-only cluster", state: settings(`"cluster.blocks.read_only":true`),
			side: Target, check: "cluster_block", detail: "read-only", remedy: "PUT _cluster/settings",
		},
	}
}

// The tests that need a cluster of their own share it, one after the other.
func TestCluster(t *testing.T) {
	t.Parallel()
	server := ownCluster(t, testbed.OpenSearchOptions{})
	t.Run("a plan reads only", func(t *testing.T) { checkReadsOnly(t, server) })
	for _, r := range clusterRefusals() {
		t.Run(r.name, func(t *testing.T) {
			w := worldOn(t, newestDatabase(t), server.URL())
			r.bring(w)
			r.verify(w)
		})
	}
	t.Run("red daily index", func(t *testing.T) { checkRedIndex(t, server) })
	t.Run("left behind by a split", func(t *testing.T) { checkSplit(t, server) })
}

// checkRedIndex wants the index named beside the cluster that it makes red.
func checkRedIndex(t *testing.T, server *testbed.OpenSearch) {
	w := worldOn(t, newestDatabase(t), server.URL())
	template(good)(w)
	w.must(http.MethodPut, "/{index}?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"nowhere"}}`)
	var names []string
	for _, c := range w.plan().Reasons(NoGo) {
		names = append(names, c.Name)
		if !strings.Contains(c.Detail, "red") || !strings.Contains(c.Remedy, "_cluster/allocation/explain") {
			t.Errorf("refused by %+v", c)
		}
	}
	if !slices.Equal(names, []string{"health", "index_health"}) {
		t.Errorf("refused by %q", names)
	}
}

// checkSplit plans with the monolith that Sentry's split leaves behind. The
// names of the new databases are a whole server's.
func checkSplit(t *testing.T, server *testbed.OpenSearch) {
	postgres := ownPostgres(t, testbed.PostgresOptions{})
	w := worldOn(t, postgres.URL(), server.URL())
	w.exec("create database control")
	w.exec("create database region")
	refusal{
		side: Source, check: "silo", detail: "beside it are control and region, which have the same nodes",
	}.verify(w)
}

// secureWorld is a world whose target has the security plugin, with its API open
// to the administrator.
func secureWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	server := ownCluster(t, testbed.OpenSearchOptions{Secure: true, Settings: map[string]string{"plugins.security.restapi.roles_enabled": "[all_access]"}})
	w := worldOn(t, newestDatabase(t), server.URL())
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CA()) {
		t.Fatal("the server's CA is not a certificate")
	}
	w.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	w.login = url.UserPassword(server.Username(), server.Password())
	w.config.Target.CA = server.CA()
	w.config.Target.Username, w.config.Target.Password = server.Username(), server.Password()
	return w
}

// With the security plugin each thing that a plan asks is tried with the
// user's own rights, and the user's roles are looked up.
func TestPrivileges(t *testing.T) {
	w := secureWorld(t)
	if c := find(t, w.plan(), Target, "privileges"); c.State != OK || !strings.Contains(c.Detail, "all_access") {
		t.Errorf("%+v", c)
	}
	w.config.Target.Password = "wrong"
	refusal{side: Target, check: "open", detail: "401", remedy: string(reached.Credentials)}.verify(w)

	const api = "/_plugins/_security/api/"
	w.must(http.MethodPut, api+"roles/mover", `{"cluster_permissions":["cluster:monitor/main"],
		"index_permissions":[{"index_patterns":["{alias}","{pattern}"],"allowed_actions":["crud","create_index","manage"]}]}`)
	w.must(http.MethodPut, api+"internalusers/mover", `{"password":"Kx7!quiet-harbour-42"}`)
	w.must(http.MethodPut, api+"rolesmapping/mover", `{"users":["mover"]}`)
	w.config.Target.Username, w.config.Target.Password = "mover", "Kx7!quiet-harbour-42"
	made := w.plan()
	if !made.Go {
		t.Errorf("refused by %+v", made.Reasons(NoGo))
	}
	for _, name := range []string{"health", "limits", "disks", "contract", "privileges", "scratch_indices"} {
		if c := find(t, made, Target, name); c.State != Unknown || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
	}
	if c := find(t, made, Target, "privileges"); !strings.Contains(c.Detail, "user mover has the roles") || !strings.Contains(c.Remedy, "cluster_manage_index_templates") {
		t.Errorf("%+v", c)
	}
	for _, name := range []string{"indices", "origin"} {
		if c := find(t, made, Target, name); c.State != OK {
			t.Errorf("%+v", c)
		}
	}
}

// What a plan may send to an OpenSearch: nothing that changes anything.
func readsOnly(method, path string) bool {
	if method == http.MethodGet || method == http.MethodHead {
		return true
	}
	return method == http.MethodPost && regexp.MustCompile(`/_(search|count|mget|simulate|simulate_index)(/|$)`).MatchString(path)
}

// checkReadsOnly shows that a plan only reads by what both servers were asked
// and by their own record of what changed.
func checkReadsOnly(t *testing.T, server *testbed.OpenSearch) {
	t.Helper()
	postgres := ownPostgres(t, testbed.PostgresOptions{Settings: map[string]string{"log_statement": "all", "autovacuum": "off"}})
	w := worldOn(t, postgres.URL(), server.URL())
	log := filepath.Join(postgres.Dir(), "server.log")
	before, written, version := size(t, log), changes(t, w.conn), stateVersion(w)

	var mu sync.Mutex
	var requests []string
	w.behind(func(r *http.Request, _ int) faulty.Fault {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.Method+" "+r.URL.Path)
		if !readsOnly(r.Method, r.URL.Path) {
			t.Errorf("the target was asked to %s %s", r.Method, r.URL.Path)
		}
		return faulty.Fault{}
	})
	if made := w.plan(); !made.Go {
		t.Errorf("refused by %+v", made.Reasons(NoGo))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(requests) < 10 {
		t.Errorf("the proxy saw only %q", requests)
	}
	if after := stateVersion(w); after != version {
		t.Errorf("the cluster's state went from version %s to %s", version, after)
	}
	if after := changes(t, w.conn); after != written {
		t.Errorf("the source's counters of written rows went from %s to %s", written, after)
	}
	checkStatements(t, log, before)
	if _, err := os.Stat(w.file); !os.IsNotExist(err) {
		t.Errorf("checkpoint: %v", err)
	}
}

// checkStatements reads what the source logged of the plan's own sessions.
func checkStatements(t *testing.T, log string, from int64) {
	t.Helper()
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	messages := strings.Split(string(content[from:]), " LOG:  statement: ")
	seen := 0
	for _, message := range messages[1:] {
		switch {
		case strings.HasPrefix(message, "set transaction isolation level read committed, read only;"):
			seen++
		case strings.HasPrefix(message, "-- ping"):
		case strings.HasPrefix(message, "/* test */"):
		default:
			t.Errorf("outside of a read-only transaction: %.200s", message)
		}
	}
	if seen < 20 {
		t.Errorf("only %d statements were logged: %s", seen, content[from:])
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// changes are the source's own counters of what was written to its tables. A
// session reports them when it ends, or after a second: the test waits for its own.
func changes(t *testing.T, conn *pgx.Conn) (counters string) {
	t.Helper()
	const sql = `/* test */ select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del + n_tup_hot_upd), 0)::text
		|| ' ' || (select string_agg(relname || relfilenode, ',' order by relname) from pg_class where relname like 'nodestore%') from pg_stat_user_tables`
	deadline, tick := time.After(30*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		err := conn.QueryRow(t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&counters)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(counters, "0 ") {
			return counters
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the source does not count what was written")
		}
	}
}

func stateVersion(w *world) string {
	w.t.Helper()
	response, err := http.Get(w.server + "/_cluster/state/version")
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Version int64 `json:"version"`
	}
	decode(w.t, response.Body, &answer)
	return fmt.Sprint(answer.Version)
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	w.config.Probe = true
	made := w.plan()
	if p := made.Probe; !made.Go || p == nil || p.Nodes != 43 || p.Bytes != 43*16 || p.StoreBytes == 0 || p.Seconds <= 0 {
		t.Errorf("probe %+v, refused by %+v", p, made.Reasons(NoGo))
	}
	if c := made.Codecs; len(c) != 2 || c[0].Codec != "best_compression" || c[1].Codec != "default" || c[0].ProbeRun != *made.Probe || c[1].Nodes != 43 || c[1].StoreBytes == 0 {
		t.Errorf("codecs %+v", c) // no node here has zstd
	}
	if made.Cost.Seconds <= 0 || made.Cost.FactorFrom != "assumed" { // 688 bytes say nothing about disk space
		t.Errorf("cost %+v", made.Cost)
	}
}

// The scratch index goes too when the plan is interrupted while it measures.
func TestInterruptedProbe(t *testing.T) {
	w := newWorld(t)
	w.config.Probe = true
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var created, removed []string
	w.behind(func(r *http.Request, _ int) faulty.Fault {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodPut:
			created = append(created, r.URL.Path)
		case r.Method == http.MethodDelete:
			removed = append(removed, r.URL.Path)
		case strings.HasSuffix(r.URL.Path, "/_bulk"):
			cancel()
		}
		return faulty.Fault{}
	})
	if _, err := Make(ctx, w.config); err == nil {
		t.Error("the plan was not interrupted")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(created) != 1 || !slices.Equal(created, removed) {
		t.Fatalf("created %q, removed %q", created, removed)
	}
	if status := w.call(http.MethodGet, created[0], ""); status != http.StatusNotFound {
		t.Errorf("%s is still there: status %d", created[0], status)
	}
}
