package testbed

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// DefaultOpenSearch is the version that is started when none is named.
const DefaultOpenSearch = "2.19.4"

// OpenSearchOptions says which OpenSearch to start. Its zero value will do.
type OpenSearchOptions struct {
	Version  string            // as published to Maven: 2.19.4, 3.4.0
	Heap     string            // of the JVM, as -Xmx takes it; 512m if empty
	Secure   bool              // TLS and a user, by the security plugin: 2.19.4 only
	Join     *OpenSearch       // becomes a further data node beside this one
	Settings map[string]string // of opensearch.yml, values in YAML
	Detach   bool              // the server outlives this process
	Quick    bool              // half the CPU to start, slower under lasting load: for tests
}

// OpenSearch is a running OpenSearch node.
type OpenSearch struct {
	*server
	version     string
	cluster     string
	transport   string // address for other nodes
	url         string
	credentials *credentials // nil unless secure
	options     OpenSearchOptions
	places      places
}

// StartOpenSearch starts an OpenSearch node that listens on 127.0.0.1 only. It
// is a minimal server: no zstd codec, of the modules only reindex. ctx bounds
// the start, not the server.
func StartOpenSearch(ctx context.Context, o OpenSearchOptions) (*OpenSearch, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	jdk, err := JDK(o.Version)
	if err != nil {
		return nil, err
	}
	home, err := openSearchDistribution(o.Version, o.variant()).install(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := newStateDir("opensearch")
	if err != nil {
		return nil, err
	}
	n, err := launchOpenSearch(ctx, o, places{jdk: jdk, home: home, dir: dir})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start OpenSearch %s: %w", o.Version, err), os.RemoveAll(dir))
	}
	return n, nil
}

// complete fills in the defaults and refuses what cannot work.
func (o OpenSearchOptions) complete() (OpenSearchOptions, error) {
	if o.Version == "" {
		o.Version = DefaultOpenSearch
	}
	if o.Heap == "" {
		o.Heap = "512m"
	}
	if o.Join != nil {
		o.Version = o.Join.version
	}
	if o.Secure && o.Version != DefaultOpenSearch {
		return o, fmt.Errorf("start OpenSearch %s: only %s has its security plugin published", o.Version, DefaultOpenSearch)
	}
	if o.Join != nil && (o.Secure || o.Join.credentials != nil) {
		return o, errors.New("start OpenSearch: secure nodes cannot be joined")
	}
	return o, nil
}

func (o OpenSearchOptions) variant() variant {
	if o.Secure {
		return secured
	}
	return plain
}

// places are the folders that a node is started from.
type places struct{ jdk, home, dir string }

func launchOpenSearch(ctx context.Context, o OpenSearchOptions, at places) (*OpenSearch, error) {
	n := &OpenSearch{version: o.Version, cluster: filepath.Base(at.dir), options: o, places: at}
	if o.Join != nil {
		n.cluster = o.Join.cluster
	}
	for _, name := range []string{"config", "data", "logs", "tmp"} {
		if err := os.Mkdir(filepath.Join(at.dir, name), 0o755); err != nil {
			return nil, fmt.Errorf("make node folder: %w", err)
		}
	}
	config := n.config(o, at.dir)
	if o.Secure {
		var err error
		if n.credentials, err = secure(at); err != nil {
			return nil, err
		}
		config += securityConfig
	}
	if err := writeConfig(filepath.Join(at.dir, "config"), config); err != nil {
		return nil, err
	}
	if err := handOver(at.dir); err != nil {
		return nil, fmt.Errorf("hand over node folder: %w", err)
	}
	return n, n.launch(ctx)
}

// launch starts the node in its folder. It has ended if that fails.
func (n *OpenSearch) launch(ctx context.Context) error {
	l := launch{cmd: javaCommand(n.options, n.places), dir: n.places.dir, stopSignal: syscall.SIGTERM, deathSignal: syscall.SIGKILL}
	if n.options.Detach {
		l.deathSignal = 0
	}
	s, err := l.start()
	if err != nil {
		return err
	}
	n.server = s
	if err := n.awaitReady(ctx); err != nil {
		return errors.Join(err, n.end())
	}
	return nil
}

// Restart ends the node, unless it has ended by itself, and starts it again with
// its data, at another URL. It must not run beside another method.
func (n *OpenSearch) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := n.end(); err != nil {
		return err
	}
	for _, kind := range []string{"http", "transport"} { // else the old ports would be read
		if err := os.Remove(filepath.Join(n.dir, "logs", kind+".ports")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("restart OpenSearch %s: %w", n.version, err)
		}
	}
	if err := n.launch(ctx); err != nil {
		return fmt.Errorf("restart OpenSearch %s: %w", n.version, err)
	}
	return nil
}

// awaitReady returns once the node answers for its cluster.
func (n *OpenSearch) awaitReady(ctx context.Context) error {
	if err := n.waitUntil(ctx, n.readPorts); err != nil {
		return err
	}
	client, err := n.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return n.waitUntil(ctx, func(ctx context.Context) error { return n.checkHealth(ctx, client) })
}

// readPorts learns the ports that the kernel gave the node: it writes them into
// files once it is up.
func (n *OpenSearch) readPorts(context.Context) error {
	address := make(map[string]string)
	for _, kind := range []string{"http", "transport"} {
		content, err := os.ReadFile(filepath.Join(n.dir, "logs", kind+".ports"))
		if err != nil {
			return err
		}
		address[kind], _, _ = strings.Cut(string(content), "\n")
	}
	scheme := "http"
	if n.credentials != nil {
		scheme = "https"
	}
	n.url = scheme + "://" + address["http"]
	n.transport = address["transport"]
	return nil
}

// checkHealth wants a cluster that knows its indices: for a moment after a start it
// answers as if it had none.
func (n *OpenSearch) checkHealth(ctx context.Context, client *http.Client) error {
	const path = "/_cluster/state/blocks?filter_path=blocks.global&cluster_manager_timeout=1s"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+path, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(n.Username(), n.Password())
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("cluster state: %s", response.Status)
	case bytes.Contains(content, []byte("state not recovered")):
		return errors.New("cluster state: not recovered yet")
	}
	return nil
}

// client trusts the node's own CA when it is secure.
func (n *OpenSearch) client() (*http.Client, error) {
	transport := &http.Transport{}
	if n.credentials != nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(n.credentials.ca) {
			return nil, errors.New("read own CA: no certificate in it")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}

// URL is where the node answers, such as http://127.0.0.1:38123.
func (n *OpenSearch) URL() string { return n.url }

// CA is the PEM certificate to trust when the node is secure, else nil.
func (n *OpenSearch) CA() []byte {
	if n.credentials == nil {
		return nil
	}
	return n.credentials.ca
}

// Username is the administrator's name when the node is secure, else "".
func (n *OpenSearch) Username() string {
	if n.credentials == nil {
		return ""
	}
	return adminName
}

// Password is the administrator's password when the node is secure, else "".
func (n *OpenSearch) Password() string {
	if n.credentials == nil {
		return ""
	}
	return adminPassword
}
