package testservers

import (
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// OwnPostgres starts a server that no other test uses, until the test ends.
func OwnPostgres(t testing.TB, options testbed.PostgresOptions) *testbed.Postgres {
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
