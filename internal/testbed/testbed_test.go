package testbed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const newestOpenSearch = "3.4.0"

func startPostgres(t *testing.T, o PostgresOptions) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, p.server) })
	return p
}

func startOpenSearch(t *testing.T, o OpenSearchOptions) *OpenSearch {
	t.Helper()
	o.Quick = true
	n, err := StartOpenSearch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n.server) })
	return n
}

func stop(t *testing.T, s *server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// checkGone checks that a stopped server left nothing behind.
func checkGone(t *testing.T, s *server, address string) {
	t.Helper()
	if err := syscall.Kill(s.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", s.PID(), err)
	}
	if exists(s.Dir()) {
		t.Errorf("folder %s is still there", s.Dir())
	}
	connection, err := net.Dial("tcp", address)
	if err == nil {
		t.Errorf("port %s still answers", address)
		connection.Close()
	}
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 30 s", what)
		case <-ticker.C:
		}
	}
}

func queryOne[T any](t *testing.T, url, query string) T {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	var value T
	if err := connection.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func execute(t *testing.T, p *Postgres, statement string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	if _, err := connection.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"14.20.0", DefaultPostgres} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p := startPostgres(t, PostgresOptions{Version: version, Settings: map[string]string{"cluster_name": "it's"}})
			want, _ := strings.CutSuffix(version, ".0")
			if got := queryOne[string](t, p.URL(), "show server_version"); got != want {
				t.Errorf("version %s, want %s", got, want)
			}
			if got := queryOne[string](t, p.URL(), "show cluster_name"); got != "it's" {
				t.Errorf("setting %q", got)
			}
			stop(t, p.server)
			checkGone(t, p.server, fmt.Sprintf("127.0.0.1:%d", p.port))
		})
	}
}

func TestStandbyFollows(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"14.20.0", DefaultPostgres} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			primary := startPostgres(t, PostgresOptions{Version: version})
			execute(t, primary, "create table before ()")
			standby := startPostgres(t, PostgresOptions{StandbyOf: primary})
			if !queryOne[bool](t, standby.URL(), "select pg_is_in_recovery()") {
				t.Error("the standby is a primary")
			}
			execute(t, primary, "create table after ()")
			eventually(t, "tables on the standby", func() bool {
				return queryOne[int](t, standby.URL(), "select count(*) from pg_class where relname in ('before', 'after')") == 2
			})
		})
	}
}

// call sends a request to a node and returns the decoded answer.
func call(t *testing.T, n *OpenSearch, method, path, body string) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, n.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(n.Username(), n.Password())
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trusting(n), DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s", method, path, response.Status, content)
	}
	var answer map[string]any
	if err := json.Unmarshal(content, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func trusting(n *OpenSearch) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.CA())
	return &tls.Config{RootCAs: roots}
}

func TestOpenSearch(t *testing.T) {
	t.Parallel()
	for _, version := range []string{DefaultOpenSearch, newestOpenSearch} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			n := startOpenSearch(t, OpenSearchOptions{Version: version, Settings: map[string]string{"node.attr.rack": "r1"}})
			info := call(t, n, "GET", "/", "")
			if got := info["version"].(map[string]any)["number"]; got != version {
				t.Errorf("version %v, want %s", got, version)
			}
			call(t, n, "PUT", "/nodes/_doc/1?refresh=true", `{"data":"x"}`)
			deleted := call(t, n, "POST", "/nodes/_delete_by_query", `{"query":{"match_all":{}}}`)
			if deleted["deleted"] != 1.0 {
				t.Errorf("delete by query: %v", deleted)
			}
			address, err := url.Parse(n.URL())
			if err != nil {
				t.Fatal(err)
			}
			stop(t, n.server)
			checkGone(t, n.server, address.Host)
		})
	}
}

func TestSecureOpenSearch(t *testing.T) {
	t.Parallel()
	n := startOpenSearch(t, OpenSearchOptions{Secure: true})
	if !strings.HasPrefix(n.URL(), "https://") {
		t.Errorf("URL %s", n.URL())
	}
	if created := call(t, n, "PUT", "/nodes", ""); created["acknowledged"] != true {
		t.Errorf("create index: %v", created)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trusting(n), DisableKeepAlives: true}}
	response, err := client.Get(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: %s", response.Status)
	}
}

func TestJoinedNodeMakesACluster(t *testing.T) {
	t.Parallel()
	first := startOpenSearch(t, OpenSearchOptions{})
	second := startOpenSearch(t, OpenSearchOptions{Join: first})
	for _, n := range []*OpenSearch{first, second} {
		if health := call(t, n, "GET", "/_cluster/health", ""); health["number_of_data_nodes"] != 2.0 {
			t.Errorf("health: %v", health)
		}
	}
	stop(t, second.server)
	if health := call(t, first, "GET", "/_cluster/health?wait_for_nodes=1&timeout=30s", ""); health["timed_out"] != false {
		t.Errorf("after the second node left: %v", health)
	}
}

func TestOpenSearchOptionsThatCannotWork(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]OpenSearchOptions{
		"no security plugin for this version": {Version: newestOpenSearch, Secure: true},
		"join a secure node":                  {Join: &OpenSearch{version: DefaultOpenSearch, credentials: &credentials{}}},
	} {
		if n, err := StartOpenSearch(t.Context(), o); err == nil {
			t.Errorf("%s: started", name)
			stop(t, n.server)
		}
	}
}

// childVariable makes this test binary a program that starts a server and exits
// without stopping it.
const childVariable = "TESTBED_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childVariable); mode != "" {
		os.Exit(abandonServer(mode))
	}
	os.Exit(m.Run())
}

func abandonServer(mode string) int {
	p, err := StartPostgres(context.Background(), PostgresOptions{Detach: mode == "detach"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(p.PID(), p.Dir(), p.URL())
	return 0
}

func TestRestartKeepsTheData(t *testing.T) {
	t.Parallel()
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		p := startPostgres(t, PostgresOptions{})
		execute(t, p, "create table kept as select 7 as n")
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := queryOne[int](t, p.URL(), "select n from kept"); n != 7 {
			t.Errorf("%d rows", n)
		}
	})
	t.Run("OpenSearch, after a crash", func(t *testing.T) {
		t.Parallel()
		n := startOpenSearch(t, OpenSearchOptions{})
		put(t, n.URL()+"/kept")
		if err := syscall.Kill(n.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := n.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		answer, err := http.Get(n.URL() + "/kept")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("the index: %s", answer.Status)
		}
	})
}

func put(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s", url, answer.Status)
	}
}
