package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// kind is a kind of fault. do is false if it did not come about: no request came
// that it was meant for.
type kind struct {
	name   string
	weight int
	do     func(*round, *rand.Rand) (bool, error)
}

// patience is how long a fault waits for its request.
const patience = 2 * time.Second

func kinds() []kind {
	all := []kind{
		{"tool: SIGKILL", 8, func(r *round, _ *rand.Rand) (bool, error) { return r.end(syscall.SIGKILL) }},
		{"tool: SIGTERM", 5, func(r *round, _ *rand.Rand) (bool, error) { return r.end(syscall.SIGTERM) }},
		{"tool: SIGSTOP for seconds", 3, func(r *round, g *rand.Rand) (bool, error) { return freeze(r.run.cmd.Process.Pid, seconds(g)) }},
		{"OpenSearch: restarted", 1, func(r *round, _ *rand.Rand) (bool, error) { return r.restart(r.ctx, r.openSearch) }},
		{"OpenSearch: SIGKILL, started again", 2, func(r *round, _ *rand.Rand) (bool, error) { return r.crash(r.ctx, r.openSearch, syscall.SIGKILL) }},
		{"OpenSearch: SIGSTOP for seconds", 3, func(r *round, g *rand.Rand) (bool, error) { return freeze(r.openSearch.PID(), seconds(g)) }},
		{"OpenSearch: index dropped by hand", 6, dropIndex},
		{"OpenSearch: creation of indices blocked for seconds", 3, blockCreation},
		{"OpenSearch: write queue full for seconds", 4, fillQueue},
		{"OpenSearch: template changed for seconds", 2, changeTemplate},
		{"OpenSearch: an index refuses writes for seconds", 2, blockWrites},
		{"PostgreSQL: restarted", 2, func(r *round, _ *rand.Rand) (bool, error) { return r.restart(r.ctx, r.postgres) }},
		{"PostgreSQL: crash, started again", 2, func(r *round, _ *rand.Rand) (bool, error) { return r.crash(r.ctx, r.postgres, syscall.SIGQUIT) }},
		{"PostgreSQL: SIGSTOP for seconds", 3, func(r *round, g *rand.Rand) (bool, error) { return freeze(r.postgres.PID(), seconds(g)) }},
		{"PostgreSQL: pg_terminate_backend", 6, func(r *round, _ *rand.Rand) (bool, error) { return r.backends("pg_terminate_backend") }},
		{"PostgreSQL: pg_cancel_backend", 6, func(r *round, _ *rand.Rand) (bool, error) { return r.backends("pg_cancel_backend") }},
		{"PostgreSQL: a standby answers for seconds, and cancels", 4, standbyCancels},
		{"PostgreSQL: connections closed", 4, func(r *round, _ *rand.Rand) (bool, error) {
			return r.line.cutAll(func(c net.Conn) { _ = c.Close() }) > 0, nil
		}},
		{"PostgreSQL: connections reset", 4, func(r *round, _ *rand.Rand) (bool, error) { return r.line.cutAll(reset) > 0, nil }},
		{"PostgreSQL: cut in an answer", 8, func(r *round, g *rand.Rand) (bool, error) {
			return r.line.cutAfter(1+g.Int64N(1+g.Int64N(1<<18)), patience), nil
		}},
		{"PostgreSQL: stalled for seconds", 3, func(r *round, g *rand.Rand) (bool, error) { return r.line.block(&r.line.stalled, seconds(g)), nil }},
		{"PostgreSQL: connections refused for seconds", 3, func(r *round, g *rand.Rand) (bool, error) {
			r.line.cutAll(reset)
			return r.line.block(&r.line.refused, seconds(g)), nil
		}},
	}
	for _, f := range httpFaults() {
		all = append(all, kind{f.name, f.weight, func(r *round, g *rand.Rand) (bool, error) {
			one := f.httpFault
			one.times = 1 + g.IntN(1+g.IntN(8))
			if one.delay != 0 {
				one.delay = seconds(g)
			}
			return r.http.arm(one, patience), nil
		}})
	}
	return all
}

type weighted struct {
	httpFault
	weight int
}

func httpFaults() []weighted {
	html := "<html><body><h1>%s</h1></body></html>"
	problem := `{"error":{"root_cause":[{"type":"%[1]s","reason":"%[2]s"}],"type":"%[1]s","reason":"%[2]s"},"status":%[3]d}`
	page := func(status int) string { return fmt.Sprintf(html, http.StatusText(status)) }
	return []weighted{
		{httpFault{name: "HTTP: closed before the server", cut: beforeServer}, 6},
		{httpFault{name: "HTTP: reset before the server", cut: beforeServer, reset: true}, 6},
		{httpFault{name: "HTTP: closed after the server acted", cut: beforeAnswer}, 7},
		{httpFault{name: "HTTP: reset after the server acted", cut: beforeAnswer, reset: true}, 6},
		{httpFault{name: "HTTP: bulk cut after the server acted", cut: beforeAnswer, bulk: true}, 7},
		{httpFault{name: "HTTP: half an answer", cut: inAnswer}, 6},
		{httpFault{name: "HTTP: stalled for seconds", delay: 1}, 4},
		{httpFault{name: "HTTP: sent twice to the server", twice: true}, 7},
		{httpFault{name: "HTTP: bulk sent twice to the server", twice: true, bulk: true}, 7},
		{httpFault{name: "HTTP: 429 rejected_execution", status: 429, body: fmt.Sprintf(problem, "rejected_execution_exception", "rejected execution of coordinating operation", 429)}, 5},
		{httpFault{name: "HTTP: 429 circuit_breaking", status: 429, body: fmt.Sprintf(problem, "circuit_breaking_exception", "[parent] Data too large, data for [<http_request>] would be larger than the limit", 429)}, 5},
		{httpFault{name: "HTTP: 413 page", bulk: true, status: 413, body: page(413)}, 5},
		{httpFault{name: "HTTP: 403 index_create_block", create: true, status: 403, body: fmt.Sprintf(problem, "index_create_block_exception", "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];", 403)}, 5},
		{httpFault{name: "HTTP: 404 page", status: 404, body: page(404)}, 5},
		{httpFault{name: "HTTP: 200 page", status: 200, body: page(200)}, 3},
		{httpFault{name: "HTTP: 408 page", status: 408, body: page(408)}, 3},
		{httpFault{name: "HTTP: 417 page", status: 417, body: page(417)}, 3},
		{httpFault{name: "HTTP: 500 page", status: 500, body: page(500)}, 3},
		{httpFault{name: "HTTP: 502 page", status: 502, body: page(502)}, 5},
		{httpFault{name: "HTTP: 503 cluster_manager_not_discovered", status: 503, body: fmt.Sprintf(problem, "cluster_manager_not_discovered_exception", "no cluster manager", 503)}, 5},
		{httpFault{name: "HTTP: 504 page", status: 504, body: page(504)}, 5},
	}
}

func seconds(g *rand.Rand) time.Duration {
	return 500*time.Millisecond + time.Duration(g.Int64N(2500))*time.Millisecond
}

// end ends the tool by a signal, which must not take long.
func (r *round) end(signal syscall.Signal) (bool, error) {
	asked := time.Now()
	r.run.signal(signal)
	if !r.run.wait(20 * time.Second) {
		r.fail("the tool did not end within 20 s of %s", signal)
		r.run.kill()
	}
	r.slowest = max(r.slowest, time.Since(asked))
	return true, nil
}

// block lets nothing pass for a while.
func (g *lineGate) block(until *time.Time, d time.Duration) bool {
	g.mu.Lock()
	*until = time.Now().Add(d)
	g.mu.Unlock()
	time.Sleep(d)
	return true
}

func (r *round) backends(function string) (bool, error) {
	return true, r.sentry.execute(r.ctx, "postgres", "select "+function+"(pid) from pg_stat_activity where datname = $1 and application_name <> 'sentry'", r.database)
}

// dropIndex drops the index of a day that was over when the round began: Sentry
// itself writes to none of them.
func dropIndex(r *round, g *rand.Rand) (bool, error) {
	day := r.began.AddDate(0, 0, -1-g.IntN(4)).Format(time.DateOnly)
	err := r.ask(r.ctx, http.MethodDelete, "/"+r.alias+"-"+day, nil, nil)
	if err != nil {
		//lint:ignore nilerr it is not there
		return false, nil
	}
	r.dropped[day] = true
	return true, nil
}

// standbyCancels has new connections lead to a standby, as a balancer over
// replicas does, and ends each query there by the replay of a lock.
func standbyCancels(r *round, g *rand.Rand) (bool, error) {
	at, err := url.Parse(r.standby.URL())
	if err != nil {
		return false, err
	}
	r.line.backend.Store(at.Host)
	defer r.line.cutAll(reset)
	defer r.line.backend.Store(r.primary.Load())
	r.line.cutAll(reset)
	for end := time.Now().Add(seconds(g)); time.Now().Before(end); pause(r.ctx, 50*time.Millisecond) {
		if err := r.execute(r.ctx, r.database, "do $$ begin lock nodestore_node in access exclusive mode; end $$"); err != nil {
			return false, err
		}
	}
	return true, nil
}

// fillQueue has others write until the server itself refuses requests of the tool.
func fillQueue(r *round, g *rand.Rand) (bool, error) {
	ctx, stop := context.WithTimeout(r.ctx, seconds(g))
	defer stop()
	const index = "/filler"
	before := r.http.refusals.Load()
	var others sync.WaitGroup
	for range 4 * queueSize {
		others.Go(func() {
			for ctx.Err() == nil {
				_ = r.ask(ctx, http.MethodPost, index+"/_doc", map[string]string{"text": strings.Repeat("so many different words ", 2000)}, nil) // refused, it is for that
			}
		})
	}
	others.Wait()
	return r.http.refusals.Load() > before, r.ask(context.WithoutCancel(r.ctx), http.MethodDelete, index+"?ignore_unavailable=true", nil, nil)
}

// blockWrites is somebody's decision: a run may end by it.
func blockWrites(r *round, g *rand.Rand) (bool, error) {
	index := "/" + r.alias + "-" + r.began.AddDate(0, 0, -1-g.IntN(4)).Format(time.DateOnly)
	set := func(value any) error {
		return r.ask(context.WithoutCancel(r.ctx), http.MethodPut, index+"/_settings", map[string]any{"index.blocks.write": value}, nil)
	}
	if err := set(true); err != nil {
		//lint:ignore nilerr it is not there
		return false, nil
	}
	pause(r.ctx, seconds(g))
	return true, set(nil)
}

// changeTemplate has it lead to another alias for seconds: a run that makes an
// index meanwhile has to refuse, and the next one resumes.
func changeTemplate(r *round, g *rand.Rand) (bool, error) {
	path := "/_index_template/" + r.alias
	if err := r.ask(r.ctx, http.MethodPut, path, r.template(r.alias+"-other"), nil); err != nil {
		return false, err
	}
	pause(r.ctx, seconds(g))
	return true, r.ask(context.WithoutCancel(r.ctx), http.MethodPut, path, r.template(r.alias), nil)
}

// blockCreation is what a cluster does by itself when its disks are full.
func blockCreation(r *round, g *rand.Rand) (bool, error) {
	set := func(value any) error {
		return r.ask(context.WithoutCancel(r.ctx), http.MethodPut, "/_cluster/settings", map[string]any{"transient": map[string]any{"cluster.blocks.create_index": value}}, nil)
	}
	if err := set(true); err != nil {
		return false, err
	}
	pause(r.ctx, seconds(g))
	return true, set(nil)
}
