// Package testservers gives tests real servers: each test has its own database
// on a PostgreSQL server, and shares a one-node OpenSearch, where it keeps to
// its own aliases and indices. A server is started when a test first asks for
// it, once in a test binary and version.
//
// A server that is there already is used instead when the environment names it:
// NODESTORE_TEST_POSTGRES_URL_17_7_0, NODESTORE_TEST_OPENSEARCH_URL_2_19_4, and
// so on; docker-compose.test.yml has such servers. NODESTORE_TEST_POSTGRES and
// NODESTORE_TEST_OPENSEARCH list the versions that tests run against. A server
// that cannot be had fails the test; none is ever skipped.
package testservers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// Run runs the tests, for TestMain, and then stops all servers that they were
// given. It returns the exit code.
func Run(m interface{ Run() int }) int { return shared.run(m) }

// RunWithoutLeaks is Run, and fails if goroutines outlive the tests.
func RunWithoutLeaks(m interface{ Run() int }) int {
	code := Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Postgres returns the URL of a fresh database, owned by a superuser, on a
// PostgreSQL server of a version. The database is dropped when the test ends.
func Postgres(t testing.TB, version string) string {
	t.Helper()
	server := shared.url(t, "POSTGRES", version, func(ctx context.Context) (server, error) {
		return testbed.StartPostgres(ctx, testbed.PostgresOptions{Version: version})
	})
	database, err := url.Parse(server)
	if err != nil {
		t.Fatalf("parse URL of PostgreSQL %s", version) // err quotes it, with its password
	}
	name := "test_" + strings.ToLower(rand.Text())
	execute(t, server, "create database "+name)
	t.Cleanup(func() { execute(t, server, "drop database "+name+" with (force)") })
	database.Path = "/" + name
	return database.String()
}

// OpenSearch returns the URL of a one-node OpenSearch server of a version. All
// tests of the binary share it.
func OpenSearch(t testing.TB, version string) string {
	t.Helper()
	return shared.url(t, "OPENSEARCH", version, func(ctx context.Context) (server, error) {
		return testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Version: version, Quick: true, Heap: "1g"})
	})
}

// PostgresVersions are the PostgreSQL versions that tests run against.
func PostgresVersions() []string {
	return listed("NODESTORE_TEST_POSTGRES", "14.20.0", testbed.DefaultPostgres)
}

// OpenSearchVersions are the OpenSearch versions that tests run against: by
// default 2.19.4, and 3.4.0 where there is a JDK that it runs on.
func OpenSearchVersions() []string {
	const newest = "3.4.0"
	if _, err := testbed.JDK(newest); err != nil {
		return listed("NODESTORE_TEST_OPENSEARCH", testbed.DefaultOpenSearch)
	}
	return listed("NODESTORE_TEST_OPENSEARCH", testbed.DefaultOpenSearch, newest)
}

func listed(variable string, defaults ...string) []string {
	if list := os.Getenv(variable); list != "" {
		return strings.Split(list, ",")
	}
	return defaults
}

// execute runs one statement. Its context is not the test's own, which has
// ended when a cleanup runs.
func execute(t testing.TB, server, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	connection, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to test server: %v", err)
	}
	defer connection.Close(ctx)
	if _, err := connection.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
