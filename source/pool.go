package source

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// readBufferBytes is how much one read of a connection may return.
const readBufferBytes = 128 << 10

// connectTimeout bounds one attempt unless the connection string says
// otherwise: without it, a firewall that drops packets costs two minutes.
const connectTimeout = 15 * time.Second

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
		// Probes after 15 s of silence: a connection that a NAT forgot is
		// noticed within minutes instead of hours.
		config.DialFunc = (&net.Dialer{
			Timeout:         connectTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true},
		}).DialContext
	}
	config.BuildFrontend = buildFrontend
	p := &pool{config: config, places: make(chan *pgconn.PgConn, size)}
	for range size {
		p.places <- nil
	}
	return p
}

// buildFrontend puts a larger buffer in front of pgx's own of 8 KiB, which
// costs several system calls for each row.
func buildFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(bufio.NewReaderSize(r, readBufferBytes), w)
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

func (p *pool) renew(ctx context.Context, conn *pgconn.PgConn) (*pgconn.PgConn, error) {
	if conn != nil {
		if !conn.IsClosed() {
			return conn, nil
		}
		// Until then the server may still count the old connection.
		select {
		case <-conn.CleanupDone():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	fresh, err := pgconn.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, connectFailure(ctx, p.config, err)
	}
	return fresh, nil
}

// close takes every place, so it returns when no call is in progress.
func (p *pool) close() {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	for range cap(p.places) {
		conn := <-p.places
		if conn == nil {
			continue
		}
		_ = conn.Close(ctx) // nothing is in flight: a broken connection is as closed as a healthy one
		<-conn.CleanupDone()
	}
}
