package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// servers are what the tool works on.
type servers struct {
	postgres   *testbed.Postgres
	openSearch *testbed.OpenSearch
}

func startServers(ctx context.Context) (_ *servers, err error) {
	s := &servers{}
	if s.postgres, err = testbed.StartPostgres(ctx, testbed.PostgresOptions{}); err != nil {
		return nil, err
	}
	if s.openSearch, err = testbed.StartOpenSearch(ctx, testbed.OpenSearchOptions{Heap: "1g"}); err != nil {
		return nil, errors.Join(err, s.postgres.Stop())
	}
	return s, nil
}

func (s *servers) stop() error {
	return errors.Join(s.postgres.Stop(), s.openSearch.Stop())
}

// tables are as much of the rest of Sentry's database as the tool looks at: it
// sees by them that this Sentry has one region and no silos.
const tables = `
	create table auth_user (id serial primary key, username varchar(128));
	insert into auth_user (username) values ('admin');
	create table sentry_organization (id bigserial primary key, slug varchar(50));
	insert into sentry_organization (slug) values ('acme');
	create table sentry_project (id bigserial primary key, organization_id bigint);
	insert into sentry_project (organization_id) values (1);`

// fill makes the table as Sentry's role sentry in its database sentry.
func (s *servers) fill(ctx context.Context, o options) error {
	for _, statement := range []string{"create role sentry login in role pg_read_all_stats", "create database sentry owner sentry"} {
		if err := execute(ctx, s.postgres.URL(), statement); err != nil {
			return err
		}
	}
	if err := execute(ctx, s.source(), tables); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.source())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := synth.CreateTable(ctx, conn, "nodestore_node"); err != nil {
		return err
	}
	// Now is in the tenth day: it is the one that Sentry may still write to.
	now := time.Now().UTC().Truncate(time.Second)
	_, err = synth.Fill(ctx, conn, "nodestore_node", synth.Options{
		Seed: o.seed, Rows: o.rows, From: now.Truncate(24*time.Hour).AddDate(0, 0, -9), Until: now,
		Mix: synth.Everything(), Distinct: 200,
	})
	if err != nil {
		return err
	}
	return execute(ctx, s.source(), "vacuum analyze nodestore_node")
}

func execute(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// source and target are what the tool is given. They hold no password.
func (s *servers) source() string {
	return "postgres://sentry@" + hostPort(s.postgres.URL()) + "/sentry"
}
func (s *servers) target() string { return s.openSearch.URL() }

// plausible replaces what is of this machine and this run only by what stands
// in every other example.
func (s *servers) plausible(text string) string {
	return strings.NewReplacer(
		hostPort(s.postgres.URL()), "localhost:5432",
		hostPort(s.openSearch.URL()), "localhost:9200",
		filepath.Base(s.openSearch.Dir()), "opensearch", // the name of the cluster
	).Replace(text)
}

// hostPort is the address in a server's URL, which testbed has made.
func hostPort(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	return u.Host
}
