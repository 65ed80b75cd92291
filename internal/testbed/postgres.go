package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// DefaultPostgres is the version that is started when none is named.
const DefaultPostgres = "17.7.0"

// PostgresOptions says which PostgreSQL to start. Its zero value will do.
type PostgresOptions struct {
	Version   string            // of io.zonky.test.postgres: 14.20.0, 17.7.0
	Settings  map[string]string // of postgresql.conf
	StandbyOf *Postgres         // clones this server and follows it as a hot standby
	Detach    bool              // the server outlives this process
}

// Postgres is a running PostgreSQL server.
type Postgres struct {
	*server
	version string
	port    int
	options PostgresOptions
	home    string // of its programs
}

var errPortTaken = errors.New("port taken")

// StartPostgres starts a PostgreSQL server that listens on 127.0.0.1 only, with
// the superuser postgres and no password. ctx bounds the start, not the server.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.Version == "" {
		o.Version = DefaultPostgres
	}
	if o.StandbyOf != nil {
		o.Version = o.StandbyOf.version // a physical copy runs on its own version only
	}
	home, err := postgresDistribution(o.Version).install(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := newStateDir("postgres")
	if err != nil {
		return nil, err
	}
	p, err := startPostgresIn(ctx, dir, home, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL %s: %w", o.Version, err), os.RemoveAll(dir))
	}
	return p, nil
}

func startPostgresIn(ctx context.Context, dir, home string, o PostgresOptions) (*Postgres, error) {
	data := filepath.Join(dir, "data")
	if err := newCluster(ctx, home, data, o.StandbyOf); err != nil {
		return nil, err
	}
	return launchOnFreePort(ctx, dir, home, o)
}

func launchOnFreePort(ctx context.Context, dir, home string, o PostgresOptions) (*Postgres, error) {
	for {
		p, err := launchPostgres(ctx, dir, home, o)
		if errors.Is(err, errPortTaken) && ctx.Err() == nil {
			continue
		}
		return p, err
	}
}

func newCluster(ctx context.Context, home, data string, primary *Postgres) error {
	if err := handOver(filepath.Dir(data)); err != nil {
		return err
	}
	if primary != nil {
		return primary.clone(ctx, data)
	}
	return initdb(ctx, home, data)
}

func initdb(ctx context.Context, home, data string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(home, "bin", "initdb"), "-D", data,
		"-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir = filepath.Dir(data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential()}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, output)
	}
	return nil
}

func launchPostgres(ctx context.Context, dir, home string, o PostgresOptions) (*Postgres, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := writePostgresSettings(data, port, o); err != nil {
		return nil, err
	}
	l := launch{
		cmd: exec.Command(filepath.Join(home, "bin", "postgres"), "-D", data),
		dir: dir,
		// Fast shutdown: sessions are cut, the standby gets the last WAL.
		stopSignal: syscall.SIGINT,
		// Immediate shutdown, which takes the server's children along.
		deathSignal: syscall.SIGQUIT,
	}
	if o.Detach {
		l.deathSignal = 0
	}
	s, err := l.start()
	if err != nil {
		return nil, err
	}
	p := &Postgres{server: s, version: o.Version, port: port, options: o, home: home}
	if err := p.waitUntil(ctx, p.checkReady); err != nil {
		if strings.Contains(p.logTail(), "could not create any TCP/IP sockets") {
			err = errPortTaken
		}
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// Restart ends the server, unless it has ended by itself, and starts it again
// with its data, on another port. It must not run beside another method.
func (p *Postgres) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.end(); err != nil {
		return err
	}
	again, err := launchOnFreePort(ctx, p.dir, p.home, p.options)
	if err != nil {
		return fmt.Errorf("restart PostgreSQL %s: %w", p.version, err)
	}
	*p = *again
	return nil
}

// writePostgresSettings appends to postgresql.conf: its later lines win, also
// over those of the primary that a standby was cloned with.
func writePostgresSettings(data string, port int, o PostgresOptions) error {
	settings := map[string]string{
		"port":                    fmt.Sprint(port),
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"timezone":                "UTC",
		"fsync":                   "off", // the data does not outlive the server
		"wal_level":               "replica",
		"wal_keep_size":           "256MB", // a standby may start late
		"max_wal_senders":         "5",
	}
	if o.StandbyOf != nil {
		settings["primary_conninfo"] = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", o.StandbyOf.port)
	}
	maps.Copy(settings, o.Settings)
	file, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		_, err = fmt.Fprintf(file, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
		if err != nil {
			break
		}
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// URL is how the superuser connects to the database postgres.
func (p *Postgres) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port)
}

// checkReady reads the state that the server writes into its pid file, as pg_ctl
// does: a connection might reach a stranger that took the port first.
func (p *Postgres) checkReady(context.Context) error {
	const stateLine = 7 // counted from 0; LOCK_FILE_LINE_PM_STATUS of PostgreSQL
	content, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) <= stateLine || strings.TrimSpace(lines[stateLine]) != "ready" {
		return errors.New("not ready yet")
	}
	return nil
}

// freePort asks the kernel for a port. Another process may take it before the
// server does.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

func postgresDistribution(version string) distribution {
	machine := runtime.GOARCH
	if machine == "arm64" {
		machine = "arm64v8"
	}
	jar := artifact{
		group:   "io.zonky.test.postgres",
		name:    fmt.Sprintf("embedded-postgres-binaries-%s-%s", runtime.GOOS, machine),
		version: version,
		kind:    "jar",
	}
	return distribution{"postgres-" + version, func(ctx context.Context, dir string) error {
		file, err := jar.fetch(ctx, dir)
		if err != nil {
			return err
		}
		defer os.Remove(file)
		return untarFromJar(file, dir)
	}}
}
