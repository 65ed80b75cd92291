package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
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

const (
	// restTime is how long a place is not used after the server had no
	// connection free for it.
	restTime = time.Minute
	// trustTime is how long a connection is taken for alive without asking.
	trustTime = time.Second
)

// pool is a number of places for connections, each of which is made on its
// first use: one call after another needs only one. Where the server gives
// fewer, callers wait for those that there are; pgxpool's number is fixed, and
// it gives the server's refusal to the caller.
type pool struct {
	config *pgconn.Config
	warn   func(string)
	places chan struct{}

	mu      sync.Mutex
	idle    []idle        // the last was used last
	open    int           // connections, idle, in use, or being made
	resting []*time.Timer // of places that are not used
	warned  bool
}

type idle struct {
	conn  *pgconn.PgConn
	since time.Time
}

func newPool(config *pgconn.Config, size int, warn func(string)) *pool {
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "nodestore-migrate"
	}
	config.RuntimeParams["client_encoding"] = "UTF8" // whatever the role or the database says
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	p := &pool{config: config, warn: warn, places: make(chan struct{}, size)}
	for range size {
		p.places <- struct{}{}
	}
	return p
}

// acquire waits for a place and returns a connection, a new one if need be.
// release has to follow.
func (p *pool) acquire(ctx context.Context) (*pgconn.PgConn, error) {
	for {
		select {
		case <-p.places:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		conn, err := p.connection(ctx)
		if err == nil {
			return conn, nil
		}
		if !p.rest(err) {
			p.places <- struct{}{}
			return nil, err
		}
	}
}

// rest leaves a place out for a while when the server has no connection free
// for it, unless it would be the last.
func (p *pool) rest(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || p.open == 0 || !Full(err) {
		return false
	}
	p.resting = append(p.resting, time.AfterFunc(restTime, func() { p.places <- struct{}{} }))
	if !p.warned && p.warn != nil {
		p.warned = true
		p.warn(fmt.Sprintf("PostgreSQL gives fewer than %d connections (%s): continuing with those that it gives", cap(p.places), pg.Message))
	}
	return true
}

// connection returns the connection that was used last, if there is one that is
// alive: one that a server or pooler ended while it was idle is replaced instead
// of failing a call.
func (p *pool) connection(ctx context.Context) (*pgconn.PgConn, error) {
	for {
		p.mu.Lock()
		count := len(p.idle)
		if count == 0 {
			p.open++
			p.mu.Unlock()
			break
		}
		last := p.idle[count-1]
		p.idle = p.idle[:count-1]
		p.mu.Unlock()
		if !last.conn.IsClosed() && (time.Since(last.since) < trustTime || last.conn.Ping(ctx) == nil) {
			return last.conn, nil
		}
		if err := p.discard(ctx, last.conn); err != nil {
			return nil, err
		}
	}
	config, words := p.config.Copy(), &lastWords{}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		words.Reader = r
		return pgproto3.NewFrontend(bufio.NewReaderSize(words, readBytes), w)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		p.closed()
		return nil, connectFailure(ctx, config, err)
	}
	conn.CustomData()[wordsKey] = words
	return conn, nil
}

func (p *pool) release(conn *pgconn.PgConn) {
	p.mu.Lock()
	p.idle = append(p.idle, idle{conn, time.Now()})
	p.mu.Unlock()
	p.places <- struct{}{}
}

func (p *pool) closed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// discard waits until the server no longer counts conn, which is closed in the
// background after an error.
func (p *pool) discard(ctx context.Context, conn *pgconn.PgConn) error {
	p.closed()
	_ = conn.Close(ctx) // nothing is in flight: a broken connection is as closed as a healthy one
	select {
	case <-conn.CleanupDone():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close takes every place that does not rest, so it returns when no call is in
// progress.
func (p *pool) close() {
	p.mu.Lock()
	places := cap(p.places)
	for _, timer := range p.resting {
		if timer.Stop() {
			places--
		}
	}
	p.mu.Unlock()
	for range places {
		<-p.places
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout) // pgconn itself gives up after 15 seconds
	defer cancel()
	for _, i := range p.idle {
		_ = p.discard(ctx, i.conn)
	}
}
