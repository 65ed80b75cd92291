package source

import (
	"crypto/tls"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

func TestKeywordsOfLibpq(t *testing.T) {
	t.Parallel()
	tests := []struct {
		value   string // keyword=value
		err     string
		ignored bool
	}{
		{value: "keepalives=0"},
		{value: "keepalives=1 keepalives_idle=30 keepalives_interval=5 keepalives_count=3"},
		{value: "keepalives_idle=0"},
		{value: "keepalives_count=many", err: "keepalives_count is not a number"},
		{value: "tcp_user_timeout=1000", ignored: true},
		{value: "client_encoding=auto", ignored: true},
		{value: "replication=database", ignored: true},
		{value: "sslcompression=0", ignored: true},
		{value: "gsslib=gssapi", ignored: true},
		{value: "gssencmode=disable"},
		{value: "gssencmode=prefer"},
		{value: "gssencmode=require", err: "gssencmode: not supported"},
		{value: "load_balance_hosts=random", ignored: true},
		{value: "channel_binding=prefer"},
		{value: "channel_binding=sometimes", err: "channel_binding"},
		{value: "krbsrvname=postgres"},
		{value: "requiressl=0"},
		{value: "requiressl=1", err: "requiressl: not supported"},
		{value: "sslcrl=/a"},
		{value: "sslcrldir=/a"},
		{value: "requirepeer=postgres"},
		{value: "sslsni=0"},
		{value: "ssl_min_protocol_version=TLSv1.3"},
		{value: "ssl_min_protocol_version=SSLv3", err: "ssl_min_protocol_version: one of TLSv1"},
		{value: "ssl_max_protocol_version=TLSv1.2"},
		{value: "require_auth=scram-sha-256"},
		{value: "require_auth=magic", err: "require_auth"},
		{value: "fallback_application_name=x"},
		{value: "options='-c work_mem=8MB'"},
		{value: "application_name=x"},
		{value: "connect_timeout=5"},
		{value: "target_session_attrs=any"},
		{value: "target_session_attrs=best", err: "target_session_attrs"},
		{value: "hostaddr=127.0.0.1"},
		{value: "hostaddr=127.0.0.1,127.0.0.2", err: "hostaddr: it needs one host for each address"},
		{value: "sslmod=disable", err: "unknown parameter sslmod"},
		{value: "search_path=a", err: "unknown parameter search_path"},
		{value: "x&sesame-4711=1", err: "unknown parameter a name that no parameter has"},
	}
	for i := range tests {
		if strings.HasPrefix(tests[i].value, "sslcrl") || strings.HasPrefix(tests[i].value, "requirepeer") {
			tests[i].err = "not supported"
		}
	}
	for _, test := range tests {
		for _, connString := range []string{"host=h password=sesame-4711 " + test.value, asURL(test.value)} {
			_, ignored, err := parse(connString)
			if test.err == "" && err != nil || (len(ignored) == 1) != test.ignored {
				t.Errorf("%s: ignored %v, %v", connString, ignored, err)
			}
			if test.err == "" {
				continue
			}
			if err == nil || !strings.Contains(err.Error(), test.err) || hint.Of(err) == "" || strings.Contains(err.Error()+hint.Of(err), "sesame") {
				t.Errorf("%s: %v, hint %q; want %s", connString, err, hint.Of(err), test.err)
			}
		}
	}
}

// asURL writes keywords into the query of a URL.
func asURL(keywords string) string {
	query := url.Values{}
	for keyword := range strings.FieldsSeq(strings.ReplaceAll(keywords, "-c work", "-c_work")) {
		name, value, _ := strings.Cut(keyword, "=")
		query.Set(name, strings.ReplaceAll(strings.Trim(value, "'"), "-c_work", "-c work"))
	}
	return "postgres://u:sesame-4711@h/db?" + query.Encode()
}

func TestKeywordsHaveTheirEffect(t *testing.T) {
	t.Parallel()
	config, _, err := parse("host=a,b hostaddr=192.0.2.1,192.0.2.2 sslmode=verify-full ssl_min_protocol_version=TLSv1.3 fallback_application_name=f")
	if err != nil {
		t.Fatal(err)
	}
	found, err := config.LookupFunc(t.Context(), "b")
	if err != nil || !slices.Equal(found, []string{"192.0.2.2"}) {
		t.Errorf("hostaddr: %v, %v", found, err)
	}
	for _, c := range []*tls.Config{config.TLSConfig, config.Fallbacks[0].TLSConfig} {
		if c.MinVersion != tls.VersionTLS13 {
			t.Errorf("%s: TLS %x", c.ServerName, c.MinVersion)
		}
	}
	if config.RuntimeParams["application_name"] != "f" {
		t.Errorf("%v", config.RuntimeParams)
	}
}

// All that makes no difference, on a real server and from all three places.
func TestOpenWithEveryKeyword(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	for keyword := range strings.FieldsSeq(`keepalives=1 keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=9000 gssencmode=disable
		load_balance_hosts=random channel_binding=prefer krbsrvname=postgres sslcompression=0 sslsni=1 client_encoding=LATIN1 replication=false
		fallback_application_name=fallback target_session_attrs=read-write hostaddr=` + address.Hostname()) {
		name, value, _ := strings.Cut(keyword, "=")
		query.Set(name, value)
	}
	query.Set("options", "-c work_mem=7MB")
	address.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq takes a + as it is
	var warned []string
	s, err := Open(t.Context(), Config{ConnString: address.String(), Table: "nodestore_node", Warn: func(text string) { warned = append(warned, text) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := make([]string, 3)
	err = s.queryRow(t.Context(), "read settings", "select current_setting('work_mem'), current_setting('client_encoding'), current_setting('application_name')", &got[0], &got[1], &got[2])
	if err != nil || !slices.Equal(got, []string{"7MB", "UTF8", "fallback"}) {
		t.Errorf("%v, %v", got, err)
	}
	if len(warned) != 1 || !strings.HasSuffix(warned[0], "ignored: client_encoding, load_balance_hosts, replication, sslcompression, tcp_user_timeout") {
		t.Errorf("%q", warned)
	}
}

func TestKeywordsFromTheEnvironment(t *testing.T) {
	db := newDatabase(t, latest())
	db.exec(plain)
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PGHOST": address.Hostname(), "PGPORT": address.Port(), "PGUSER": "postgres", "PGDATABASE": strings.TrimPrefix(address.Path, "/"), "PGSSLMODE": "disable",
		"PGTARGETSESSIONATTRS": "primary", "PGTZ": "Asia/Kathmandu", "PGOPTIONS": "-c work_mem=7MB", "PGAPPNAME": "ours", "PGCHANNELBINDING": "disable",
		"PGGSSENCMODE": "disable", "PGKRBSRVNAME": "x", "PGCLIENTENCODING": "LATIN1", "PGDATESTYLE": "German", "PGLOADBALANCEHOSTS": "disable",
	} {
		t.Setenv(name, value)
	}
	s, err := Open(t.Context(), Config{Table: "nodestore_node"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := make([]string, 3)
	err = s.queryRow(t.Context(), "read settings", "select current_setting('work_mem'), current_setting('application_name'), current_database()", &got[0], &got[1], &got[2])
	if err != nil || !slices.Equal(got, []string{"7MB", "ours", strings.TrimPrefix(address.Path, "/")}) {
		t.Errorf("%v, %v", got, err)
	}
}

// pgx looks at fewer variables than libpq.
func TestVariablesThatMayNotBeIgnored(t *testing.T) {
	for name, value := range map[string]string{
		"PGREQUIRESSL": "1", "PGSSLCRL": "/a", "PGSSLCRLDIR": "/a", "PGREQUIREPEER": "x", "PGGSSENCMODE": "require", "PGSSLMINPROTOCOLVERSION": "SSLv3", "PGHOSTADDR": "192.0.2.1,192.0.2.2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			_, _, err := parse("host=h")
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "_", ""), strings.ToLower(name[2:])+": ") || hint.Of(err) == "" {
				t.Errorf("%v, hint %q", err, hint.Of(err))
			}
		})
	}
	t.Setenv("PGLOADBALANCEHOSTS", "random")
	if _, ignored, err := parse("host=h"); err != nil || !slices.Equal(ignored, []string{"load_balance_hosts"}) {
		t.Errorf("%v, %v", ignored, err)
	}
}

func TestTargetSessionAttributes(t *testing.T) {
	primary, standby := primaryAndStandby(t, plain)
	host := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}
	p, s := host(primary.url), host(standby)
	for _, test := range []struct {
		hosts, attrs, want string // primary, standby, or of the error
	}{
		{s + "," + p, "read-write", "primary"},
		{s + "," + p, "primary", "primary"},
		{p + "," + s, "standby", "standby"},
		{p + "," + s, "read-only", "standby"},
		{p + "," + s, "prefer-standby", "standby"},
		{p, "prefer-standby", "primary"},
		{s + "," + p, "any", "standby"},
		{"127.0.0.1:1," + p, "any", "primary"},
		{p, "standby", "not in hot standby mode"},
		{s, "read-write", "read only connection"},
		{s, "primary", "in standby mode"},
		{p, "read-only", "not read only"},
	} {
		t.Run(test.attrs+" of "+test.hosts, func(t *testing.T) {
			source, err := Open(t.Context(), Config{
				ConnString: "postgres://postgres@" + test.hosts + "/postgres?sslmode=disable&target_session_attrs=" + test.attrs, Table: "nodestore_node",
			})
			if err != nil {
				checkError(t, err, test.want, "target_session_attrs")
				if !Retryable(err) {
					t.Error("a failover may be under way")
				}
				return
			}
			defer source.Close()
			if got := map[bool]string{true: "standby", false: "primary"}[source.Relation().InRecovery]; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
