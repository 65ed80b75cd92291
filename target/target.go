// Package target is the OpenSearch side: the template and the daily indices as
// sentry-opensearch-nodestore would make them, the bulk writer that gives every
// node its fate, and the two requests with which Sentry reads. It keeps
// promises 1 (one fate for each node), 5 (nothing newer is overwritten) and
// 7 (settings are borrowed) on this side.
package target

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opensearch-project/opensearch-go/v4"
	"github.com/opensearch-project/opensearch-go/v4/signer"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// Config says which cluster is meant and how the backend uses it.
type Config struct {
	URLs        []string // of nodes of one cluster; requests go to one that answers
	Username    string
	Password    string
	CA          []byte // PEM certificates that the servers' own must descend from; empty: the system's
	Fingerprint string // SHA-256 of the server's certificate in hex, colons allowed; replaces the check of the chain
	Insecure    bool   // any certificate will do
	Certificate []byte // PEM; this client's own, if the servers want one
	Key         []byte // PEM; of Certificate
	// Signer, if set, signs each request instead of a user name and password.
	Signer signer.Signer

	Backend Backend

	// Patience is how long the same request is sent again before it is given up:
	// a question without a whole answer, or nodes of which none is taken. Zero
	// means 10 minutes.
	Patience time.Duration
	// Waiting, if set, is told the cause before each pause.
	Waiting func(cause string, pause time.Duration)
}

// requestTimeout is when a request without an answer counts as a broken
// connection. A bulk waits in the server's queue for seconds, and a long
// collection of garbage is over in a minute.
const requestTimeout = 5 * time.Minute

// defaultPatience outlasts a restart of a node and a garbage collection storm,
// and still ends on the same evening.
const defaultPatience = 10 * time.Minute

// openPatience is for a cluster that was not reached yet: a wrong --target
// should be told soon.
const openPatience = 9 * time.Second

// Identity tells one cluster from another.
type Identity struct {
	ClusterUUID string
	ClusterName string
	Version     string // of the server, such as 2.19.4
}

// Target is a cluster and the backend's rules for it. It is safe for use by
// several goroutines.
type Target struct {
	config   Config
	identity Identity
	client   *opensearch.Client // repeats nothing by itself
	http     *http.Transport
	patience time.Duration // Config.Patience, once the cluster was reached
	sizes    sizes
	noExpect atomic.Bool // something on the way refuses Expect: 100-continue
}

// Open reaches the cluster and makes sure that it is an OpenSearch whose
// version is known. It changes nothing.
func Open(ctx context.Context, config Config) (*Target, error) {
	if config.Patience == 0 {
		config.Patience = defaultPatience
	}
	if err := checkURLs(config.URLs); err != nil {
		return nil, err
	}
	transport, err := newTransport(config)
	if err != nil {
		return nil, err
	}
	t := &Target{config: config, http: transport, patience: min(config.Patience, openPatience)}
	if err := t.connect(); err != nil {
		return nil, err
	}
	if err := t.identify(ctx); err != nil {
		t.Close()
		return nil, err
	}
	t.patience = config.Patience
	return t, nil
}

// Close closes the connections.
func (t *Target) Close() {
	// The library's Close reports nothing but a custom transport's error; ours has none.
	_ = t.client.Close()
	t.http.CloseIdleConnections()
}

// Identity returns what identifies the cluster.
func (t *Target) Identity() Identity { return t.identity }

// Backend returns the backend's configuration that the target was opened with.
func (t *Target) Backend() Backend { return t.config.Backend }

// checkURLs refuses what the library would quote in its error, password and
// all. Not even what is wrong may be told: a slash in a password makes the rest
// of it a port.
func checkURLs(urls []string) error {
	if len(urls) == 0 {
		return hint.Add(errors.New("configure target: no URL is given"), "--target wants URLs such as https://host:9200, separated by commas")
	}
	for i, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User == nil && strings.Contains(raw, "@") {
			return hint.Add(fmt.Errorf("configure target: URL %d cannot be read", i+1),
				"--target wants URLs such as https://host:9200, separated by commas; a password belongs in --target-password-file")
		}
		if strings.HasSuffix(u.Hostname(), ".aoss.amazonaws.com") {
			return ErrServerless
		}
	}
	return nil
}

// ErrServerless refuses what has OpenSearch's name and not its APIs.
var ErrServerless = hint.Add(
	errors.New("configure target: OpenSearch Serverless (aoss) is not supported: it has no cluster APIs, no refresh and no versions of documents"),
	"Sentry's node storage needs an OpenSearch domain or cluster; --target must name it")

func newTransport(config Config) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default of 2 would close and reopen a connection for almost every
	// bulk of a third sender.
	transport.MaxIdleConnsPerHost = 64
	transport.DisableCompression = true // answers are small, and stored payloads do not compress again
	transport.WriteBufferSize = 64 << 10
	transport.DialContext = writingWholeBodies(dial)
	var err error
	transport.TLSClientConfig, err = newTLS(config)
	return transport, err
}

func newTLS(config Config) (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: config.Insecure}
	if len(config.CA) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(config.CA) {
			return nil, hint.Add(errors.New("read target CA: it holds no PEM certificate"),
				"--target-ca wants a file that begins with -----BEGIN CERTIFICATE-----")
		}
	}
	if len(config.Certificate)+len(config.Key) > 0 {
		own, err := tls.X509KeyPair(config.Certificate, config.Key)
		if err != nil {
			return nil, hint.Add(fmt.Errorf("read target certificate and key: %w", err), "--target-cert and --target-key want PEM files that belong together, the key without a passphrase")
		}
		settings.Certificates = []tls.Certificate{own}
	}
	if config.Fingerprint == "" {
		return settings, nil
	}
	want, err := hex.DecodeString(strings.ReplaceAll(config.Fingerprint, ":", ""))
	if err != nil || len(want) != sha256.Size {
		return nil, hint.Add(errors.New("read target fingerprint: not a SHA-256 in hex"),
			"take it from: openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -fingerprint -sha256")
	}
	// The fingerprint replaces the chain: that is what pinning is for.
	settings.InsecureSkipVerify = true
	settings.VerifyConnection = func(state tls.ConnectionState) error {
		if got := sha256.Sum256(state.PeerCertificates[0].Raw); !bytes.Equal(got[:], want) {
			return hint.Add(fmt.Errorf("the server's certificate has the fingerprint %X", got),
				"if the certificate was renewed, give the new one with --target-fingerprint; else somebody stands in between")
		}
		return nil
	}
	return settings, nil
}

func (t *Target) connect() (err error) {
	// Dead connections are told apart by our own requests; the library's
	// background health checks would only add traffic that nobody asked for. It
	// repeats nothing: ask and Writer decide that by one function.
	t.client, err = opensearch.NewClient(opensearch.Config{
		Addresses: t.config.URLs, Username: t.config.Username, Password: t.config.Password,
		Transport: t.http, DisableRetry: true, HealthCheckMaxRetries: -1, MaxRetryClusterHealth: -1,
		RequestTimeout: requestTimeout, Signer: t.config.Signer,
	})
	if err != nil {
		return fmt.Errorf("configure target: %w", err)
	}
	return nil
}

// supportedMajors are the major versions of OpenSearch on which the tool is tested.
var supportedMajors = []string{"2", "3"}

// clusterInfo is the answer of the cluster's root.
type clusterInfo struct {
	ClusterUUID string `json:"cluster_uuid"`
	ClusterName string `json:"cluster_name"`
	Version     struct {
		Distribution string `json:"distribution"`
		Flavor       string `json:"build_flavor"` // of Elasticsearch
		Number       string `json:"number"`
	} `json:"version"`
}

// known reports whether a cluster that starts knows itself already.
func (i clusterInfo) known() bool { return i.ClusterUUID != "" && i.ClusterUUID != "_na_" }

// product names what is not OpenSearch. Elasticsearch names no distribution.
func (i clusterInfo) product() string {
	v := i.Version
	switch {
	case v.Flavor == "serverless":
		return "Elasticsearch Serverless"
	case v.Number == "":
		return "a server of another kind"
	}
	return cmp.Or(v.Distribution, "Elasticsearch") + " " + v.Number
}

func (t *Target) identify(ctx context.Context) error {
	var info clusterInfo
	if err := t.ask(ctx, http.MethodGet, "/", nil, &info); err != nil {
		return unreachable(t.config.URLs, fmt.Errorf("reach %s%s: %w", redact(t.config.URLs), throughProxy(t.config.URLs[0]), err))
	}
	version := info.Version
	if version.Distribution == "" && strings.HasPrefix(version.Number, "7.10.") {
		// With compatibility.override_main_response_version OpenSearch gives itself
		// out as this Elasticsearch; its nodes tell.
		number, err := t.nodesVersion(ctx)
		if err != nil {
			return err
		}
		if number != "" && number != version.Number {
			version.Distribution, version.Number = "opensearch", number
		}
	}
	if version.Distribution != "opensearch" {
		return hint.Add(fmt.Errorf("reach %s: it is %s, not OpenSearch", redact(t.config.URLs), info.product()),
			"--target must name the OpenSearch cluster that Sentry's node storage is configured with")
	}
	major, _, _ := strings.Cut(version.Number, ".")
	if !slices.Contains(supportedMajors, major) {
		return hint.Add(fmt.Errorf("reach %s: OpenSearch %s is not supported", redact(t.config.URLs), version.Number),
			"supported are the major versions "+strings.Join(supportedMajors, " and "))
	}
	if !info.known() {
		return hint.Add(fmt.Errorf("reach %s: the cluster has no identity yet", redact(t.config.URLs)),
			"it has not elected a cluster manager; try again when _cluster/health answers")
	}
	t.identity = Identity{ClusterUUID: info.ClusterUUID, ClusterName: info.ClusterName, Version: version.Number}
	return nil
}

// nodesVersion is the version as a node tells it.
func (t *Target) nodesVersion(ctx context.Context) (version string, err error) {
	var answer struct {
		Nodes map[string]struct {
			Version string `json:"version"`
		} `json:"nodes"`
	}
	err = t.ask(ctx, http.MethodGet, "/_nodes/_local?filter_path=nodes.*.version", nil, &answer)
	for _, n := range answer.Nodes {
		version = n.Version
	}
	return version, err
}

// ErrOtherCluster means that another cluster answers at the same URL now.
var ErrOtherCluster = errors.New("another cluster answers")

// sameCluster makes sure that the cluster is still the one that was opened: what
// another one does not have is not gone.
func (t *Target) sameCluster(ctx context.Context) error {
	var patience backoff
	for {
		var info clusterInfo
		if err := t.ask(ctx, http.MethodGet, "/", nil, &info); err != nil {
			return err
		}
		switch {
		case info.ClusterUUID == t.identity.ClusterUUID:
			return nil
		case info.known():
			return hint.Add(fmt.Errorf("%w at %s: its identity is %q, it was %q", ErrOtherCluster, redact(t.config.URLs), info.ClusterUUID, t.identity.ClusterUUID),
				"make --target lead to the one cluster that Sentry reads from, whichever of its nodes or proxies answers; then run the same command again")
		}
		if err := t.pause(ctx, &patience, errors.New("the cluster has no identity yet: it has not elected a cluster manager")); err != nil {
			return err
		}
	}
}

// redact lists URLs without the credentials that they may carry.
func redact(urls []string) string {
	shown := make([]string, 0, len(urls))
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			shown = append(shown, "an unreadable URL")
			continue
		}
		u.User = nil
		shown = append(shown, u.String())
	}
	return strings.Join(shown, ",")
}
