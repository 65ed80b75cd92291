package testservers

import (
	"net/http"
	"os"
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
			url := OpenSearch(t, version)
			if again := OpenSearch(t, version); again != url {
				t.Errorf("second server at %s, first at %s", again, url)
			}
			response, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("GET %s: %s", url, response.Status)
			}
		})
	}
}
