package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// secret is every password in the scripts: no output may contain it.
const secret = "geheim"

// setup gives a script a database, and an alias with daily indices of its own,
// through the environment. $PREFIX is the name of alias and template.
func setup(env *testscript.Env) error {
	t := env.T().(testing.TB) // testscript promises it
	versions := testservers.PostgresVersions()
	source := testservers.Postgres(t, versions[len(versions)-1])
	target := testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])
	prefix := "nm" + strings.ToLower(rand.Text()[:10]) // without a dash, as Sentry's own
	env.Defer(func() { removeIndices(t, target, prefix) })
	database, err := url.Parse(source)
	if err != nil {
		return err
	}
	env.Vars = append(env.Vars,
		"NODESTORE_SOURCE="+source, "NODESTORE_TARGET="+target, "NODESTORE_REGION=test", "NODESTORE_COMPACT=never",
		"NODESTORE_ALIAS="+prefix, "NODESTORE_TEMPLATE="+prefix, "NODESTORE_INDEX="+prefix+"-{date}",
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN="+prefix+"-*",
		"SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC=best_compression",
		"SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_SHARDS=1", "SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_REPLICA=0",
		"PREFIX="+prefix, "DATABASE="+strings.TrimPrefix(database.Path, "/"), "SOURCE_HOST="+database.Host,
		"SECRET="+secret,
		"REAL_HOME="+os.Getenv("HOME"), "JAVA_HOME="+os.Getenv("JAVA_HOME"), testbed.CacheVariable+"="+installed(),
	)
	return nil
}

// installed is where a demo finds the servers that these tests have installed,
// unless that is below $REAL_HOME: scripts have a temporary folder of their own.
func installed() string {
	fallback := filepath.Join(os.TempDir(), fmt.Sprintf("nodestore-migrate-%d", os.Geteuid()))
	if _, err := os.Stat(fallback); err != nil {
		fallback = ""
	}
	return cmp.Or(os.Getenv(testbed.CacheVariable), fallback)
}

// condition adds [root]: root may write where others may not.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

func removeIndices(t testing.TB, target, prefix string) {
	for _, path := range []string{"/" + prefix + "*", "/_index_template/" + prefix + "*"} {
		if status, content, err := request(http.MethodDelete, target+path, ""); err != nil || status >= 500 {
			t.Errorf("DELETE %s: %d %v %s", path, status, err, content)
		}
	}
}

// exits runs a program that has to end with a code: exits 3 nodestore-migrate ...
// With --json what it prints has to be as documented.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = failed.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if strings.Contains(ts.ReadFile(stream), secret) {
			ts.Fatalf("the password is in %s", stream)
		}
	}
	if slices.Contains(args, "--json") {
		ts.Check(checkOutput(args[2], ts.ReadFile("stdout"), code))
	}
}

// fails is exits for an error: nothing on standard output, without --json, and on standard
// error at the end one line that says what went wrong and one what to do.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	exits(ts, neg, args)
	if out := ts.ReadFile("stdout"); out != "" && !slices.Contains(args, "--json") {
		ts.Fatalf("standard output after an error: %s", out)
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stderr"), "\n"), "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[len(lines)-1], "  -> ") ||
		!strings.HasPrefix(lines[len(lines)-2], "nodestore-migrate: ") {
		ts.Fatalf("not an error of one line and a hint of one line")
	}
}

// fill makes nodestore_node with rows of every kind: fill ROWS DAYS. Its days
// begin with 2025-03-01.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	rows, err := strconv.Atoi(args[0])
	ts.Check(err)
	days, err := strconv.Atoi(args[1])
	ts.Check(err)
	conn := connect(ts)
	defer conn.Close(context.Background())
	from := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	ts.Check(synth.CreateTable(context.Background(), conn, "nodestore_node"))
	_, err = synth.Fill(context.Background(), conn, "nodestore_node", synth.Options{
		Seed: 1, Rows: rows, From: from, Until: from.AddDate(0, 0, days), Mix: synth.Everything(), Distinct: 20,
	})
	ts.Check(err)
}

// execute runs statements on the script's database, and prints what they return, or
// with ! why they fail: sql STATEMENTS, or sql -f FILE.
func execute(ts *testscript.TestScript, neg bool, args []string) {
	statements := strings.Join(args, " ")
	if args[0] == "-f" {
		statements = ts.ReadFile(args[1])
	}
	conn := connect(ts)
	defer conn.Close(context.Background())
	results, err := conn.PgConn().Exec(context.Background(), statements).ReadAll()
	if neg && err != nil {
		fmt.Fprintln(ts.Stdout(), err)
		return
	}
	if neg {
		ts.Fatalf("it did not fail")
	}
	ts.Check(err)
	for _, result := range results {
		for _, row := range result.Rows {
			fmt.Fprintf(ts.Stdout(), "%s\n", bytes.Join(row, []byte(" ")))
		}
	}
}

// hold begins a transaction that stays open for the rest of the script, and runs
// statements in it: hold STATEMENTS.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	conn := connect(ts)
	_, err := conn.Exec(context.Background(), "begin; "+strings.Join(args, " "))
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close(context.Background()) })
}

func connect(ts *testscript.TestScript) *pgx.Conn {
	conn, err := pgx.Connect(context.Background(), ts.Getenv("NODESTORE_SOURCE"))
	ts.Check(err)
	return conn
}

// elsewhere starts another PostgreSQL and makes it the source.
func elsewhere(ts *testscript.TestScript, _ bool, _ []string) {
	versions := testservers.PostgresVersions()
	server, err := testbed.StartPostgres(context.Background(), testbed.PostgresOptions{Version: versions[len(versions)-1]})
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Stop()) })
	address, err := url.Parse(server.URL())
	ts.Check(err)
	ts.Setenv("NODESTORE_SOURCE", server.URL())
	ts.Setenv("SOURCE_HOST", address.Host)
}

// role makes a role of the script's own that has to log in with a password, and
// puts its name into $ROLE. It may do nothing but connect.
func role(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, conn := context.Background(), connect(ts)
	name := "role_" + strings.ToLower(rand.Text())
	// pg_hba.conf is written by the server, which may be on another machine. It
	// has one more line for each script that has run; the server reads it at once.
	for _, statement := range []string{
		"create role " + name + " login password '" + secret + "'",
		"do $$ begin execute format('copy (select unnest(string_to_array(%L, E''\\n''))) to %L', 'host all " + name +
			" all scram-sha-256' || E'\\n' || pg_read_file(current_setting('hba_file')), current_setting('hba_file')); end $$",
		"select pg_reload_conf()",
	} {
		_, err := conn.Exec(ctx, statement)
		ts.Check(err)
	}
	ts.Setenv("ROLE", name)
	ts.Defer(func() {
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "drop owned by "+name+"; drop role "+name); err != nil {
			ts.Logf("drop role: %v", err)
		}
	})
}

// askOpenSearch prints an answer of the target: opensearch METHOD PATH [BODY].
// With ! the target has to refuse.
func askOpenSearch(ts *testscript.TestScript, neg bool, args []string) {
	body := strings.Join(args[2:], "")
	status, content, err := request(args[0], ts.Getenv("NODESTORE_TARGET")+args[1], body)
	ts.Check(err)
	if neg != (status >= http.StatusMultipleChoices) {
		ts.Fatalf("%s %s: %d %s", args[0], args[1], status, content)
	}
	_, err = ts.Stdout().Write(content)
	ts.Check(err)
}

func request(method, address, body string) (status int, content []byte, err error) {
	r, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	content, err = io.ReadAll(response.Body)
	return response.StatusCode, content, err
}

// pretend makes the target a server that says of itself: pretend DISTRIBUTION VERSION.
func pretend(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name":"n","cluster_name":"c","cluster_uuid":"u","version":{"distribution":%q,"number":%q}}`, args[0], args[1])
	}))
	ts.Defer(server.Close)
	ts.Setenv("NODESTORE_TARGET", server.URL)
}

// refuse has the target answer by way of a proxy that refuses requests whose path
// contains a word, or only those of a method, or with more than so many bytes:
// refuse [METHOD:]WORD STATUS[>BYTES] [BODY].
func refuse(ts *testscript.TestScript, _ bool, args []string) {
	method, word, ok := strings.Cut(args[0], ":")
	if !ok {
		method, word = "", args[0]
	}
	number, least, _ := strings.Cut(args[1], ">")
	status, err := strconv.Atoi(number)
	ts.Check(err)
	allowed, err := strconv.ParseInt(cmp.Or(least, "-1"), 10, 64)
	ts.Check(err)
	server, err := url.Parse(ts.Getenv("NODESTORE_TARGET"))
	ts.Check(err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(server) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, word) || method != "" && r.Method != method || r.ContentLength <= allowed {
			proxy.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // the client sends it all before it reads
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, strings.Join(args[2:], ""))
	}))
	ts.Defer(front.Close)
	ts.Setenv("NODESTORE_TARGET", front.URL)
}

// jsonOutput checks what a run with --json wrote: every line is JSON, the last
// one, but for the error of a run that was interrupted, is the summary, and its fates
// add up to what was read. Arguments such as
// rejected=3 or this_run.nodes=0 are checked against the summary.
func jsonOutput(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	if n := len(lines) - 1; strings.HasPrefix(lines[n], `{"type":"error"`) {
		lines = lines[:n]
	}
	for i, line := range lines {
		var object struct{ Type string }
		if err := json.Unmarshal([]byte(line), &object); err != nil || (object.Type == "summary") != (i == len(lines)-1) {
			ts.Fatalf("line %d: %v: %s", i+1, err, line)
		}
	}
	var summary struct {
		Read    int64 `json:"read_nodes"`
		Fates   map[string]int64
		Reasons map[string]int64      `json:"rejected_by_reason"`
		ThisRun struct{ Nodes int64 } `json:"this_run"`
	}
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &summary))
	if len(summary.Fates) != 8 || sum(summary.Fates) != summary.Read {
		ts.Fatalf("%d fates, sum %d, of %d read", len(summary.Fates), sum(summary.Fates), summary.Read)
	}
	if sum(summary.Reasons) != summary.Fates["rejected"] {
		ts.Fatalf("%d reasons for %d rejected nodes", sum(summary.Reasons), summary.Fates["rejected"])
	}
	has := map[string]int64{"read": summary.Read, "sent": summary.ThisRun.Nodes}
	maps.Copy(has, summary.Fates)
	for _, arg := range args[1:] {
		name, want, _ := strings.Cut(arg, "=")
		if got, ok := has[name]; !ok || strconv.FormatInt(got, 10) != want {
			ts.Fatalf("%s is %d, want %s", name, got, want)
		}
	}
}

func sum(counts map[string]int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}

// waitFor waits until a file that a program in the background writes has a
// match: waitfor FILE PATTERN.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	const patience = 3 * time.Minute // the servers of a demo start on a busy machine
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && pattern.Match(content) {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("no %q in %s after %s: %s", args[1], args[0], patience, bytes.TrimSpace(content))
		case <-ticker.C:
		}
	}
}
