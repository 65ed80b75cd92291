package testservers

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// shared is the one mutable variable: the tests of a binary have nothing else
// in common through which they could share servers.
var shared pool

type server interface {
	URL() string
	Stop() error
}

// pool holds the servers of this test binary.
type pool struct {
	mu      sync.Mutex
	open    bool // run is there to stop what is started
	servers map[string]*entry
}

// entry is a server that is started once.
type entry struct {
	once   sync.Once
	server server
	err    error
}

func (p *pool) run(m interface{ Run() int }) int {
	p.mu.Lock()
	p.open = true
	p.servers = make(map[string]*entry)
	p.mu.Unlock()
	code := m.Run()
	if err := p.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop test servers:", err)
		return max(code, 1)
	}
	return code
}

// stop stops all servers at once: each takes about a second.
func (p *pool) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
	errs := make(chan error, len(p.servers))
	for _, e := range p.servers {
		go func() { errs <- e.stop() }()
	}
	var first error
	for range p.servers {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func (e *entry) stop() error {
	if e.err != nil || e.server == nil {
		//lint:ignore nilerr it was told when the server was asked for
		return nil
	}
	return e.server.Stop()
}

// url returns the URL of the server of a kind and version: one that the
// environment names, or one that start starts on the first call.
func (p *pool) url(t testing.TB, kind, version string, start func(context.Context) (server, error)) string {
	t.Helper()
	variable := "NODESTORE_TEST_" + kind + "_URL_" + strings.ReplaceAll(version, ".", "_")
	if url := os.Getenv(variable); url != "" {
		return url
	}
	e := p.entry(t, kind+" "+version)
	// The server outlives the test that happens to be the first.
	e.once.Do(func() { e.server, e.err = start(context.WithoutCancel(t.Context())) })
	if e.err != nil {
		t.Fatalf("%v\n%s", e.err, hint.Of(e.err))
	}
	return e.server.URL()
}

func (p *pool) entry(t testing.TB, name string) *entry {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		t.Fatal("no TestMain that calls testservers.Run: nothing would stop the servers")
	}
	if p.servers[name] == nil {
		p.servers[name] = &entry{}
	}
	return p.servers[name]
}
