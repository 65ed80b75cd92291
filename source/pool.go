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
	// freshTime is how long a connection is taken for alive without asking.
	freshTime = time.Second
)

// pool is a number of places for connections, each of which is made on its
// first use: one call after another needs only one.
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

// wordsKey is where a connection's lastWords are in its custom data.
const wordsKey = "last words"

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
	if !ok || p.open == 0 || judge(pg).remedy != occupied {
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
		last, ok := p.take()
		if !ok {
			break
		}
		if !last.conn.IsClosed() && (time.Since(last.since) < freshTime || last.conn.Ping(ctx) == nil) {
			return last.conn, nil
		}
		if err := p.discard(ctx, last.conn); err != nil {
			return nil, err
		}
	}
	p.count(1)
	config, words := p.config.Copy(), &lastWords{}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		words.Reader = r
		return pgproto3.NewFrontend(bufio.NewReaderSize(words, readBytes), w)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		p.count(-1)
		return nil, connectFailure(ctx, config, err)
	}
	conn.CustomData()[wordsKey] = words
	return conn, nil
}

func (p *pool) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open += n
}

func (p *pool) take() (last idle, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return idle{}, false
	}
	last = p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return last, true
}

func (p *pool) release(conn *pgconn.PgConn) {
	p.mu.Lock()
	p.idle = append(p.idle, idle{conn, time.Now()})
	p.mu.Unlock()
	p.places <- struct{}{}
}

// discard waits until the server no longer counts conn, which is closed in the
// background after an error.
func (p *pool) discard(ctx context.Context, conn *pgconn.PgConn) error {
	p.count(-1)
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
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	for range cap(p.places) - p.wake() {
		<-p.places
	}
	for _, i := range p.idle {
		_ = p.discard(ctx, i.conn) // pgconn itself gives up after 15 seconds
	}
}

// wake ends the rest of places, and returns how many never come back by it.
func (p *pool) wake() (ended int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, timer := range p.resting {
		if timer.Stop() {
			ended++
		}
	}
	return ended
}
