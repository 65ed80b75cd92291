package cluster

import (
	"net"
	"syscall"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// silent is an address where connections are neither accepted nor refused, as
// at a machine that is gone: Linux drops them when the queue is full.
func silent(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }) // makes the queue shorter
	}
	if err != nil {
		t.Fatal(err)
	}
	queued, err := net.Dial("tcp", listener.Addr().String()) // takes the one place
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = queued.Close() })
	return listener.Addr().String()
}

// The library shuffles URLs: of four dead ones, one is almost always tried
// before the one that lives.
func TestURLsThatClose(t *testing.T) {
	t.Parallel()
	urls := []string{testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])}
	for range 4 {
		proxy := faulty.NewTCPProxy(t, "127.0.0.1:1", func(int) faulty.Line { return faulty.Line{Refuse: true} })
		urls = append(urls, "http://"+proxy.Addr())
	}
	for range 3 {
		to, err := Open(t.Context(), Config{URLs: urls})
		if err != nil {
			t.Fatal(err)
		}
		to.Close()
	}
}

func TestSilentURL(t *testing.T) {
	t.Parallel()
	to, err := Open(t.Context(), Config{URLs: []string{"http://" + silent(t), testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])}})
	if err != nil {
		t.Fatal(err)
	}
	to.Close()
}
