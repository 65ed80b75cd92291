// Package inspect asks a cluster what a plan, and the governor of a load, want to
// know of it: its health, its limits, the room on its disks, and by a scratch
// index what a load would take. All but the scratch index only read.
package inspect

import (
	"context"
	"net/http"

	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Health is the state of the whole cluster.
type Health struct {
	Status           string `json:"status"` // green, yellow, red
	DataNodes        int    `json:"number_of_data_nodes"`
	ActiveShards     int    `json:"active_shards"`
	UnassignedShards int    `json:"unassigned_shards"`
}

// HealthOf asks for the state of the cluster.
func HealthOf(ctx context.Context, t *target.Target) (Health, error) {
	var health Health
	err := t.Ask(ctx, http.MethodGet, "/_cluster/health", nil, &health)
	return health, err
}

// Access is what the security plugin says of the user.
type Access struct {
	Secured bool     `json:"-"` // there is a security plugin
	User    string   `json:"user_name"`
	Roles   []string `json:"roles"`
}

// AccessOf asks the security plugin who the user is to it.
func AccessOf(ctx context.Context, t *target.Target) (access Access, err error) {
	err = t.Ask(ctx, http.MethodGet, "/_plugins/_security/authinfo", nil, &access)
	switch cluster.StatusOf(err) {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed: // no such handler
		return access, nil
	}
	access.Secured = true
	return access, err
}
