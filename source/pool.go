package source

import (
	"bufio"
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// connectTimeout bounds one attempt unless the connection string says
// otherwise: a firewall that drops packets would cost two minutes.
const connectTimeout = 15 * time.Second

// readBytes is how much is read from a connection at once. pgx reads 8 KiB, as
// PostgreSQL sends them; but while a reader waits for the target, more comes
// in. That saves a tenth of the CPU of a whole copy.
const readBytes = 128 << 10

// pool is a fixed number of places for connections. A place holds a
// connection, or a closed one or nil where one has to be made on its next use.
type pool struct {
	config *pgconn.Config
	places chan *pgconn.PgConn
}

func newPool(config *pgconn.Config, size int) *pool {
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "nodestore-migrate"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, readBytes), w)
	}
	p := &pool{config: config, places: make(chan *pgconn.PgConn, size)}
	for range size {
		p.places <- nil
	}
	return p
}

// acquire waits for a place and returns its connection, a new one if need be.
// release has to follow.
func (p *pool) acquire(ctx context.Context) (*pgconn.PgConn, error) {
	select {
	case conn := <-p.places:
		fresh, err := p.renew(ctx, conn)
		if err != nil {
			p.places <- conn
			return nil, err
		}
		return fresh, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) release(conn *pgconn.PgConn) { p.places <- conn }

// renew returns conn if it is alive. The round trip costs nothing beside a
// slice, and a connection that a server or pooler ended while it was idle is
// replaced instead of failing a call.
func (p *pool) renew(ctx context.Context, conn *pgconn.PgConn) (*pgconn.PgConn, error) {
	if conn != nil {
		if !conn.IsClosed() && conn.Ping(ctx) == nil {
			return conn, nil
		}
		if err := discard(ctx, conn); err != nil {
			return nil, err
		}
	}
	fresh, err := pgconn.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, connectFailure(ctx, p.config, err)
	}
	return fresh, nil
}

// discard waits until the server no longer counts conn, which is closed in the
// background after an error.
func discard(ctx context.Context, conn *pgconn.PgConn) error {
	_ = conn.Close(ctx) // nothing is in flight: a broken connection is as closed as a healthy one
	select {
	case <-conn.CleanupDone():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close takes every place, so it returns when no call is in progress.
func (p *pool) close() {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	for range cap(p.places) {
		if conn := <-p.places; conn != nil {
			_ = discard(ctx, conn) // pgconn itself gives up after 15 seconds
		}
	}
}
