package cluster

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opensearch-project/opensearch-go/v4"
	"github.com/opensearch-project/opensearch-go/v4/signer"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// Config says which cluster is meant and how it is reached.
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

	// Patience is how long the same request is sent again before it is given up:
	// a question without a whole answer, or nodes of which none is taken. Zero
	// means 10 minutes.
	Patience time.Duration
	// Waiting, if set, is told the cause before each pause.
	Waiting func(cause string, pause time.Duration)
}

// Identity tells one cluster from another.
type Identity struct {
	ClusterUUID string
	ClusterName string
	Version     string // of the server, such as 2.19.4
}

// Cluster is the connection to a cluster. It is safe for use by several goroutines.
type Cluster struct {
	config   Config
	identity Identity
	client   *opensearch.Client // repeats nothing by itself
	http     *http.Transport
	patience time.Duration // Config.Patience, once the cluster was reached
	noExpect atomic.Bool   // something on the way refuses Expect: 100-continue
}

// Close closes the connections.
func (c *Cluster) Close() {
	// The library's Close reports nothing but a custom transport's error; ours has none.
	_ = c.client.Close()
	c.http.CloseIdleConnections()
}

// Identity returns what identifies the cluster.
func (c *Cluster) Identity() Identity { return c.identity }

// requestTimeout is when a request without an answer counts as a broken
// connection. A bulk waits in the server's queue for seconds, and a long
// collection of garbage is over in a minute.
const requestTimeout = 5 * time.Minute

// dialTimeout is when a server that neither accepts nor refuses counts as gone.
// A lost packet is sent again after one second and after three. The library
// dials seven times, so a cluster that is silent is told of after 45 s.
const dialTimeout = 5 * time.Second

func connect(config Config) (c *Cluster, err error) {
	c = &Cluster{config: config, http: http.DefaultTransport.(*http.Transport).Clone()}
	// The default of 2 would close and reopen a connection for almost every
	// bulk of a third sender.
	c.http.MaxIdleConnsPerHost = 64
	c.http.DisableCompression = true // answers are small, and stored payloads do not compress again
	c.http.WriteBufferSize = 64 << 10
	c.http.DialContext = writingWholeBodies((&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext)
	if c.http.TLSClientConfig, err = newTLS(config); err != nil {
		return nil, err
	}
	// Dead connections are told apart by our own requests; the library's
	// background health checks would only add traffic that nobody asked for. It
	// repeats nothing: Retry does that.
	c.client, err = opensearch.NewClient(opensearch.Config{
		Addresses: config.URLs, Username: config.Username, Password: config.Password,
		Transport: c.http, DisableRetry: true, HealthCheckMaxRetries: -1, MaxRetryClusterHealth: -1,
		RequestTimeout: requestTimeout, Signer: config.Signer,
	})
	if err != nil {
		return nil, fmt.Errorf("configure target: %w", err)
	}
	return c, nil
}

func newTLS(config Config) (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: config.Insecure}
	if len(config.CA) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(config.CA) {
			return nil, Mistaken(NoCA, errors.New("read target CA: it holds no PEM certificate"))
		}
	}
	if len(config.Certificate)+len(config.Key) > 0 {
		own, err := tls.X509KeyPair(config.Certificate, config.Key)
		if err != nil {
			return nil, Mistaken(NoKeyPair, fmt.Errorf("read target certificate and key: %w", err))
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
			return Mistaken(OtherPrint, fmt.Errorf("the server's certificate has the fingerprint %X", got))
		}
		return nil
	}
	return settings, nil
}

// broken says of an error of the connection which mistake it comes from, if it
// tells by itself. Such a connection will break the same way again.
func broken(err error) error {
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return Mistaken(Untrusted, err)
	case errors.As(err, &plain):
		return Mistaken(SpeaksPlain, err)
	case errors.As(err, &alert) && alert.Op == "remote error": // how crypto/tls marks what the server said
		return Mistaken(WantsOurs, err)
	}
	return err
}

// throughProxy names the proxy of the environment that leads to a URL, or "".
func throughProxy(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return ""
	}
	return fmt.Sprintf(" through the proxy %s of HTTP_PROXY or HTTPS_PROXY", proxy.Host)
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
