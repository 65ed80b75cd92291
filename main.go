// Command nodestore-migrate moves Sentry's event payloads out of PostgreSQL's
// nodestore_node table into the daily OpenSearch indices of
// sentry-opensearch-nodestore.
package main

import (
	"os"

	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
)

func main() { os.Exit(cli.Main()) }
