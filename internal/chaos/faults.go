package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
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
		{"PostgreSQL: restarted", 2, func(r *round, _ *rand.Rand) (bool, error) { return r.restart(r.ctx, r.postgres) }},
		{"PostgreSQL: crash, started again", 2, func(r *round, _ *rand.Rand) (bool, error) { return r.crash(r.ctx, r.postgres, syscall.SIGQUIT) }},
		{"PostgreSQL: SIGSTOP for seconds", 3, func(r *round, g *rand.Rand) (bool, error) { return freeze(r.postgres.PID(), seconds(g)) }},
		{"PostgreSQL: pg_terminate_backend", 6, func(r *round, _ *rand.Rand) (bool, error) { return r.backends("pg_terminate_backend") }},
		{"PostgreSQL: pg_cancel_backend", 6, func(r *round, _ *rand.Rand) (bool, error) { return r.backends("pg_cancel_backend") }},
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
