package cli_test

import (
	"context"
	"net/url"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
)

// secure makes the target an OpenSearch with TLS and users. The certificate of
// its CA is in ca.pem, the administrator's name in $ADMIN and the password in
// the file password.
func secure(ts *testscript.TestScript, _ bool, _ []string) {
	server, err := testbed.StartOpenSearch(context.Background(), testbed.OpenSearchOptions{
		Secure: true, Quick: true,
		Settings: map[string]string{"plugins.security.restapi.roles_enabled": "[all_access]"},
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
