package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// proxy passes requests on to the cluster, and counts them.
type proxy struct {
	url       string
	requests  atomic.Int64
	sentBytes atomic.Int64 // of their bodies, as they come over the wire
}

// newProxy starts a proxy on a free port, until the benchmark ends.
// take answers a request itself, or reports that it is to be passed on.
func (b *bed) newProxy(ctx context.Context, take func(http.ResponseWriter, *http.Request) bool) (*proxy, error) {
	to, err := url.Parse(b.target)
	if err != nil {
		return nil, fmt.Errorf("read the target's URL: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the tool: %w", err)
	}
	p := &proxy{url: "http://" + listener.Addr().String()}
	transport := &http.Transport{MaxIdleConnsPerHost: b.senders, DisableCompression: true}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: transport}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		r.Body = &countedBody{r.Body, &p.sentBytes}
		if take == nil || !take(w, r) {
			forward.ServeHTTP(w, r)
		}
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // returns because of Close; else the tool's requests fail and say so
	}()
	b.later(func(context.Context) error {
		err := server.Close()
		<-ended
		transport.CloseIdleConnections()
		return err
	})
	return p, nil
}

// countedBody adds up what is read of a request.
type countedBody struct {
	io.ReadCloser
	total *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.total.Add(int64(n))
	return n, err
}
