package cli_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// mutual puts before the target a server with TLS that wants a client's
// certificate. One that will do is in client.pem, its key in client.key, and the
// server's own in server.pem.
func mutual(ts *testscript.TestScript, _ bool, _ []string) {
	behind, err := url.Parse(ts.Getenv("NODESTORE_TARGET"))
	ts.Check(err)
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(behind))
	front.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.StartTLS()
	ts.Defer(front.Close)
	own := front.TLS.Certificates[0] // will do as the client's as well
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	ts.Check(err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	ts.Check(os.WriteFile(ts.MkAbs("server.pem"), certificate, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("client.pem"), certificate, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("client.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	ts.Setenv("NODESTORE_TARGET", front.URL)
}

// secure makes the target an OpenSearch with TLS and users. The certificate of
// its CA is in ca.pem, the administrator's name in $ADMIN and the password in
// the file password. It may write snapshots into $SNAPSHOTS.
func secure(ts *testscript.TestScript, _ bool, _ []string) {
	snapshots, err := os.MkdirTemp("", "nodestore-snapshots-")
	ts.Check(err)
	ts.Defer(func() { ts.Check(os.RemoveAll(snapshots)) })
	ts.Check(os.Chmod(snapshots, 0o777)) // the server may be another user's
	ts.Setenv("SNAPSHOTS", snapshots)
	server, err := testbed.StartOpenSearch(context.Background(), testbed.OpenSearchOptions{
		Secure: true, Quick: true,
		Settings: map[string]string{
			"plugins.security.restapi.roles_enabled": "[all_access]", "path.repo": strconv.Quote(snapshots),
		},
	})
	ts.Check(err)
	ts.Defer(func() {
		if err := server.Stop(); err != nil {
			ts.Logf("stop: %v", err)
		}
	})
	address, err := url.Parse(server.URL())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), server.CA(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("password"), []byte(server.Password()+"\n"), 0o600))
	ts.Setenv("NODESTORE_TARGET", server.URL())
	ts.Setenv("TARGET_HOST", address.Host)
	ts.Setenv("ADMIN", server.Username())
}
