// Package target is the OpenSearch side: the template and the daily indices as
// sentry-opensearch-nodestore would make them, the bulk writer that gives every
// node its fate, and the two requests with which Sentry reads. It keeps
// promises 1 (one fate for each node), 5 (nothing newer is overwritten) and
// 7 (settings are borrowed) on this side.
package target

import (
	"context"

	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Config says which cluster is meant and how the backend uses it.
type Config struct {
	cluster.Config
	Backend Backend
}

// Target is a cluster and the backend's rules for it. It is safe for use by
// several goroutines.
type Target struct {
	*cluster.Cluster
	backend Backend
	templates
	indices
	documents
	sizes sizes
}

// Open reaches the cluster, as cluster.Open does.
func Open(ctx context.Context, config Config) (*Target, error) {
	reached, err := cluster.Open(ctx, config.Config)
	if err != nil {
		return nil, err
	}
	b := config.Backend
	return &Target{Cluster: reached, backend: b, templates: templates{reached, b}, indices: indices{reached, b}, documents: documents{reached, b.Alias}}, nil
}

// Backend returns the backend's configuration that the target was opened with.
func (t *Target) Backend() Backend { return t.backend }
