package target

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// maxContent is the limit of a request to the secure server.
const maxContent = 1 << 20

// TestSecureServer shares one server, which takes long to start, with TLS,
// users, and a small limit of requests.
func TestSecureServer(t *testing.T) {
	t.Parallel()
	server, err := testbed.StartOpenSearch(t.Context(), testbed.OpenSearchOptions{Secure: true, Quick: true, Settings: map[string]string{
		"http.max_content_length":                "1mb",
		"plugins.security.restapi.roles_enabled": `["all_access"]`,
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	for name, test := range map[string]func(*testing.T, *testbed.OpenSearch){
		"certificates": trustsCertificates, "refusals": refusesToOpen, "users": meetsPrivileges, "limit": splitsAtTheServersLimit,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

func secured(server *testbed.OpenSearch, change func(*Config)) Config {
	b := defaults()
	b.Codec = "best_compression"
	config := Config{Config: cluster.Config{URLs: []string{server.URL()}, Username: server.Username(), Password: server.Password(), CA: server.CA()}, Backend: b}
	change(&config)
	return config
}

// fingerprint is that of the certificate that the server shows.
func fingerprint(t *testing.T, server *testbed.OpenSearch) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(server.URL(), "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func trustsCertificates(t *testing.T, server *testbed.OpenSearch) {
	print := fingerprint(t, server)
	var pairs []string
	for i := 0; i < len(print); i += 2 {
		pairs = append(pairs, print[i:i+2])
	}
	for name, change := range map[string]func(*Config){
		"authority":            func(*Config) {},
		"fingerprint":          func(c *Config) { c.CA, c.Fingerprint = nil, strings.ToLower(print) },
		"fingerprint in pairs": func(c *Config) { c.CA, c.Fingerprint = nil, strings.Join(pairs, ":") },
		"insecure":             func(c *Config) { c.CA, c.Insecure = nil, true },
		"second URL":           func(c *Config) { c.URLs = []string{"http://127.0.0.1:1", server.URL()} },
		"credentials in URL": func(c *Config) {
			c.URLs = []string{strings.Replace(server.URL(), "://", "://"+c.Username+":"+strings.ReplaceAll(c.Password, "!", "%21")+"@", 1)}
			c.Username, c.Password = "", ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := openTarget(t, secured(server, change))
			if id := target.Identity(); id.ClusterUUID == "" || id.ClusterName == "" || id.Version != testbed.DefaultOpenSearch {
				t.Errorf("%+v", id)
			}
		})
	}
}

const otherCA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

func refusesToOpen(t *testing.T, server *testbed.OpenSearch) {
	const secret = "s3cret-of-nobody"
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	plain := strings.Replace(server.URL(), "https://", "http://", 1)
	for name, test := range map[string]struct {
		change       func(*Config)
		text, remedy string
	}{
		"unknown authority": {func(c *Config) { c.CA = nil }, "certificate", string(cluster.Untrusted)},
		"other authority":   {func(c *Config) { c.CA = ca }, "certificate", string(cluster.Untrusted)},
		"other fingerprint": {func(c *Config) { c.Fingerprint = strings.Repeat("ab:", 31) + "ab" }, "has the fingerprint " + fingerprint(t, server), string(cluster.OtherPrint)},
		"no fingerprint":    {func(c *Config) { c.Fingerprint = "abc" }, "not a SHA-256", "openssl"},
		"no authority":      {func(c *Config) { c.CA = []byte("x") }, "no PEM certificate", string(cluster.NoCA)},
		"broken authority":  {func(c *Config) { c.CA = []byte(otherCA) }, "no PEM certificate", string(cluster.NoCA)},
		"plain HTTP":        {func(c *Config) { c.URLs = []string{plain} }, plain, string(cluster.WantsTLS)},
		"wrong password":    {func(c *Config) { c.Password = secret }, "status 401", string(cluster.Credentials)},
		"no password":       {func(c *Config) { c.Username, c.Password = "", "" }, "status 401", string(cluster.Credentials)},
		"password in URL": {func(c *Config) {
			c.URLs = []string{strings.Replace(server.URL(), "://", "://admin:"+secret+"@", 1)}
			c.Username, c.Password = "", ""
		}, "status 401", string(cluster.Credentials)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), secured(server, test.change))
			wantRefusal(t, err, test.text, test.remedy)
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

// meetsPrivileges: a user who may do nothing, at first or any more.
func meetsPrivileges(t *testing.T, server *testbed.OpenSearch) {
	const password = "May-d0-not-a-thing!"
	admin := openTarget(t, secured(server, func(*Config) {}))
	may := func(roles ...string) {
		user := map[string]any{"password": password, "opendistro_security_roles": append([]string{}, roles...)}
		if err := admin.Ask(t.Context(), http.MethodPut, "/_plugins/_security/api/internalusers/nobody", user, nil); err != nil {
			t.Fatal(err)
		}
	}
	may()
	config := secured(server, func(c *Config) { c.Username, c.Password = "nobody", password })
	_, err := Open(t.Context(), config)
	wantRefusal(t, err, "status 403", "cluster_monitor")

	may("all_access")
	target := openTarget(t, config)
	may()
	index := Index{Name: target.Backend().IndexOf(today)}
	for name, call := range map[string]func(context.Context) error{
		"write": func(ctx context.Context) error {
			_, err := target.Write(ctx, index, batchOf(t, Versioned, numbered(2)...))
			return err
		},
		"template": func(ctx context.Context) error { _, err := target.EnsureTemplate(ctx); return err },
		"contract": func(ctx context.Context) error { return target.CheckContract(ctx, today) },
		"create": func(ctx context.Context) error {
			return target.Create(ctx, index.Name, Loan{Settings: map[string]string{}}, Origin{})
		},
		"daily": func(ctx context.Context) error { _, _, err := target.Daily(ctx, today); return err },
		"read":  func(ctx context.Context) error { _, err := target.Read(ctx, "a"); return err },
	} {
		if err := call(t.Context()); err == nil || cluster.StatusOf(err) != http.StatusForbidden || !strings.Contains(hint.Of(err), "cluster_manage_index_templates") {
			t.Errorf("%s: %v, remedy %q", name, err, hint.Of(err))
		}
	}
}

func splitsAtTheServersLimit(t *testing.T, server *testbed.OpenSearch) {
	b := bed{testservers.Corner{T: t}, defaults()}
	b.backend.Codec, b.backend.Replicas = "best_compression", 0
	target := openTarget(t, secured(server, func(c *Config) { c.Backend = b.backend }))
	index := b.loading(target)
	batch := NewBatch(4 << 20)
	data := payload(t, "", 150<<10)
	for i := range 20 {
		appendTo(t, batch, node.Node{ID: fmt.Append(nil, i), Data: data, Micros: noon})
	}
	appendTo(t, batch, node.Node{ID: []byte("too large"), Data: payload(t, "", maxContent), Micros: noon})
	got, err := target.Write(t.Context(), index, batch)
	wantFates(t, got, err, node.Fates{node.Stored: 20, node.Rejected: 1})
	if r := got.Rejected[0]; r.ID != "too large" || r.Reason != ReasonTooLarge {
		t.Errorf("rejected %+v", r)
	}
	if err := target.Refresh(t.Context(), index.Name); err != nil {
		t.Fatal(err)
	}
	sight, err := target.Read(t.Context(), "19")
	if err != nil || !bytes.Equal(sight.Data, data) {
		t.Errorf("%d bytes came back, %v", len(sight.Data), err)
	}
}

// answering is a server that answers everything in the same way.
func answering(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// endless is a server whose error page has no end.
func endless(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for page := make([]byte, 1<<20); ; {
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestClientCertificate: a server that asks for one takes the one that is given.
func TestClientCertificate(t *testing.T) {
	b := oldest(t)
	to, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(to))
	proxy.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	own := proxy.TLS.Certificates[0] // will do as the client's as well
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	config := b.config()
	config.URLs, config.Insecure = []string{proxy.URL}, true
	_, err = Open(t.Context(), config)
	wantRefusal(t, err, "certificate required", string(cluster.WantsOurs))
	config.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	_, err = Open(t.Context(), config)
	wantRefusal(t, err, "read target certificate and key", string(cluster.NoKeyPair))
	config.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	openTarget(t, config)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	info := func(distribution, version, uuid string) string {
		return fmt.Sprintf(`{"cluster_name":"c","cluster_uuid":%q,"version":{"distribution":%q,"number":%q}}`, uuid, distribution, version)
	}
	for name, test := range map[string]struct{ url, text, remedy string }{
		"nobody":             {"http://admin:" + secret + "@" + nobody, "connection refused", string(cluster.NoAnswer)},
		"unknown host":       {"http://admin:" + secret + "@no-such-host.invalid:9200", "no-such-host.invalid", string(cluster.NoAnswer)},
		"TLS to plain":       {strings.Replace(answering(t, 200, "{}"), "http://", "https://admin:"+secret+"@", 1), "not look like a TLS handshake", string(cluster.SpeaksPlain)},
		"bad escape":         {"http://admin:" + secret + "%zz@" + nobody, "URL 1 cannot be read", string(cluster.UnreadableURL)},
		"bad port":           {"http://admin:" + secret + "@127.0.0.1:port", "URL 1 cannot be read", string(cluster.UnreadableURL)},
		"slash":              {"http://admin:" + secret + "/x@127.0.0.1:9200", "URL 1 cannot be read", string(cluster.UnreadableURL)},
		"question mark":      {"http://admin:9200?" + secret + "@127.0.0.1:9200", "URL 1 cannot be read", string(cluster.UnreadableURL)},
		"no scheme":          {secret + ":9200", "URL 1 cannot be read", string(cluster.UnreadableURL)},
		"nothing":            {"", "URL 1 cannot be read", string(cluster.UnreadableURL)},
		"serverless":         {"https://x.eu-central-1.aoss.amazonaws.com", "Serverless (aoss) is not supported", string(cluster.NotOpenSearch)},
		"Elasticsearch":      {answering(t, 200, info("", "7.17.0", "u")), "it is Elasticsearch 7.17.0, not OpenSearch", string(cluster.NotOpenSearch)},
		"Elasticsearch OSS":  {answering(t, 200, info("", "7.10.2", "u")), "it is Elasticsearch 7.10.2, not OpenSearch", string(cluster.NotOpenSearch)},
		"a page without end": {endless(t), "status 500", string(cluster.NotItself)},
		"Elastic's cloud":    {answering(t, 200, `{"cluster_uuid":"u","version":{"number":"8.11.0","build_flavor":"serverless"}}`), "it is Elasticsearch Serverless, not OpenSearch", string(cluster.NotOpenSearch)},
		"a web page":         {answering(t, 200, "<html>"+secret+"</html>"), "without OpenSearch's words", string(cluster.NotItself)},
		"a missing page":     {answering(t, 404, "nothing here"), "status 404", string(cluster.NotItself)},
		"OpenSearch 1":       {answering(t, 200, info("opensearch", "1.3.20", "u")), "1.3.20 is not supported", "2 and 3"},
		"OpenSearch 4":       {answering(t, 200, info("opensearch", "4.0.0", "u")), "4.0.0 is not supported", "2 and 3"},
		"no manager":         {answering(t, 200, info("opensearch", "2.19.4", "_na_")), "no identity yet", "cluster manager"},
		"no manager, none":   {answering(t, 200, info("opensearch", "2.19.4", "")), "no identity yet", "cluster manager"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, err := Open(t.Context(), Config{Config: cluster.Config{URLs: []string{test.url}}, Backend: defaults()})
			wantRefusal(t, err, test.text, test.remedy)
			if target != nil || strings.Contains(err.Error(), secret) || strings.Contains(hint.Of(err), secret) {
				t.Errorf("%v\n%s", err, hint.Of(err))
			}
		})
	}
}

func TestOpenWithoutURL(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Backend: defaults()})
	wantRefusal(t, err, "no URL is given", string(cluster.NoURL))
}

func TestOpenIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	if _, err := Open(ctx, Config{Config: cluster.Config{URLs: []string{server.URL}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
