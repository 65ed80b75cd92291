package faulty

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// echo starts a server that sends back what it gets.
func echo(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		done.Wait()
	})
	return listener.Addr().String()
}

func lives(int) Line { return Line{} }

func dial(t *testing.T, addr string) net.Conn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// exchange sends text, ends its side, and returns what comes back.
func exchange(t *testing.T, conn net.Conn, text string) (string, error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	_ = conn.Close()
	<-done
	return string(got), err
}

func TestTCPPassesEverything(t *testing.T) {
	t.Parallel()
	proxy := NewTCPProxy(t, echo(t), lives)
	text := strings.Repeat("0123456789", 300_000)
	if got, err := exchange(t, dial(t, proxy.Addr()), text); got != text || err != nil {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(text), err)
	}
}

func TestTCPCutsAfterBytesOnOneConnection(t *testing.T) {
	t.Parallel()
	const limit = 12_345
	proxy := NewTCPProxy(t, echo(t), func(k int) Line {
		if k == 2 {
			return Line{CutAfter: limit}
		}
		return Line{}
	})
	text := strings.Repeat("0123456789", 5000)
	for k, want := range []int{len(text), limit, len(text)} {
		got, err := exchange(t, dial(t, proxy.Addr()), text)
		cut := want < len(text) // by a reset if the client was still sending
		if len(got) != want || err != nil && !cut {
			t.Errorf("connection %d: %d bytes, %v; want %d", k+1, len(got), err, want)
		}
	}
	if proxy.Connections() != 3 {
		t.Errorf("%d connections, want 3", proxy.Connections())
	}
}

func TestTCPRefuses(t *testing.T) {
	t.Parallel()
	proxy := NewTCPProxy(t, echo(t), func(k int) Line { return Line{Refuse: k < 3} })
	for k, want := range []string{"", "", "hello"} {
		if got, _ := exchange(t, dial(t, proxy.Addr()), "hello"); got != want {
			t.Errorf("connection %d: got %q, want %q", k+1, got, want)
		}
	}
}

func TestTCPDownAndUp(t *testing.T) {
	t.Parallel()
	proxy := NewTCPProxy(t, echo(t), lives)
	open := dial(t, proxy.Addr())
	if _, err := io.WriteString(open, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(open, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	proxy.Down()
	if n, err := open.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes through a proxy that is down, %v", n, err)
	}
	if got, _ := exchange(t, dial(t, proxy.Addr()), "hello"); got != "" {
		t.Errorf("got %q through a proxy that is down", got)
	}
	proxy.Up()
	if got, err := exchange(t, dial(t, proxy.Addr()), "hello"); got != "hello" || err != nil {
		t.Errorf("got %q, %v through a proxy that is up again", got, err)
	}
}

func TestTCPServerThatIsGone(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	proxy := NewTCPProxy(t, listener.Addr().String(), lives)
	if got, _ := exchange(t, dial(t, proxy.Addr()), "hello"); got != "" {
		t.Errorf("got %q from a server that is gone", got)
	}
}
