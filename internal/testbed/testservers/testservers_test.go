package testservers

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestPostgresGivesEachTestItsOwnDatabase(t *testing.T) {
	t.Parallel()
	for _, version := range PostgresVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for _, test := range []string{"one", "two"} {
				t.Run(test, func(t *testing.T) {
					connection, err := pgx.Connect(t.Context(), Postgres(t, version))
					if err != nil {
						t.Fatal(err)
					}
					defer connection.Close(t.Context())
					// Fails when the other test's table is there.
					if _, err := connection.Exec(t.Context(), "create table nodestore_node ()"); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

func TestOpenSearchIsSharedByTests(t *testing.T) {
	t.Parallel()
	for _, version := range OpenSearchVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			address := OpenSearch(t, version)
			if again := OpenSearch(t, version); again != address {
				t.Errorf("second server at %s, first at %s", again, address)
			}
			response, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("GET %s: %s", address, response.Status)
			}
		})
	}
}

func TestServersNamedByTheEnvironmentAreUsed(t *testing.T) {
	own, err := url.Parse(Postgres(t, PostgresVersions()[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NODESTORE_TEST_POSTGRES_URL_1_2_3", own.String())
	named, err := url.Parse(Postgres(t, "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	if named.Host != own.Host || named.Path == own.Path {
		t.Errorf("%s: not a database of its own on %s", named.Path, own.Host)
	}
	const elsewhere = "http://127.0.0.1:1"
	t.Setenv("NODESTORE_TEST_OPENSEARCH_URL_1_2_3", elsewhere)
	if got := OpenSearch(t, "1.2.3"); got != elsewhere {
		t.Errorf("%s, want %s", got, elsewhere)
	}
}

func TestVersionsNamedByTheEnvironmentAreUsed(t *testing.T) {
	t.Setenv("NODESTORE_TEST_POSTGRES", "14.20.0")
	t.Setenv("NODESTORE_TEST_OPENSEARCH", "3.4.0,2.19.4")
	if got := PostgresVersions(); !slices.Equal(got, []string{"14.20.0"}) {
		t.Errorf("PostgreSQL %v", got)
	}
	if got := OpenSearchVersions(); !slices.Equal(got, []string{"3.4.0", "2.19.4"}) {
		t.Errorf("OpenSearch %v", got)
	}
}
