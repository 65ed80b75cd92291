package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// parse understands all that libpq does. What pgconn leaves over of it would be
// sent to the server as settings; what libpq does not know is refused by name.
func parse(connString string) (config *pgconn.Config, ignored []string, err error) {
	if config, err = pgconn.ParseConfig(connString); err != nil {
		return nil, nil, hint.Add(fmt.Errorf("parse connection string: %s", parseReason(err)),
			"give postgres://user@host:5432/database?sslmode=require or host=... dbname=... user=...; escape special characters of a password as %XX, or leave it to PGPASSWORD or ~/.pgpass")
	}
	left := config.RuntimeParams
	for name := range keywords() { // pgconn does not look at all of libpq's variables
		if value := os.Getenv("PG" + strings.ToUpper(strings.ReplaceAll(name, "_", ""))); value != "" && left[name] == "" {
			left[name] = value
		}
	}
	config.RuntimeParams = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		take, known := keywords()[name]
		switch {
		case !known:
			return nil, nil, unknownKeyword(name)
		case take == nil:
			ignored = append(ignored, name)
			continue
		}
		if err := take(config, left[name]); err != nil {
			return nil, nil, hint.Add(fmt.Errorf("parse connection string: %s: %w", name, err), "see PostgreSQL's manual, \"Parameter Key Words\" of libpq")
		}
	}
	config.DialFunc, err = dialer(left)
	return config, ignored, err
}

// parseReason keeps only the constant part of pgconn's error, "cannot parse
// `string`: reason (cause)": the string has its password masked on a
// best-effort basis, and most causes repeat parts of it (promise 10).
func parseReason(err error) string {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); !ok {
		return "it is not understood"
	}
	reason := err.Error()
	if cause := errors.Unwrap(err); cause != nil {
		reason = strings.TrimSuffix(reason, " ("+cause.Error()+")")
	}
	reason = reason[strings.LastIndex(reason, "`: ")+len("`: "):]
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		reason += ": " + file.Error()
	}
	return reason
}

// unknownKeyword names what may be a keyword. Anything else may be a piece of a
// password that was not escaped (promise 10).
func unknownKeyword(name string) error {
	if !regexp.MustCompile(`^[a-z][a-z_]{0,40}$`).MatchString(name) {
		name = "a name that no parameter has"
	}
	return hint.Add(fmt.Errorf("parse connection string: unknown parameter %s", name),
		"libpq's parameters are understood; escape special characters of a password as %XX, and give settings of the server as options=-c name=value")
}

// taker applies the value of a keyword.
type taker func(config *pgconn.Config, value string) error

// keywords are those of libpq 18 that pgconn does not know itself, or sends to
// the server. Those without a taker make no difference here and are ignored.
func keywords() map[string]taker {
	return map[string]taker{
		"application_name": setting("application_name"),
		"options":          setting("options"),
		"timezone":         setting("timezone"), // from PGTZ
		"fallback_application_name": func(config *pgconn.Config, value string) error {
			config.RuntimeParams["application_name"] = value // application_name itself comes before it
			return nil
		},
		"hostaddr":                 hostAddress,
		"ssl_min_protocol_version": protocolVersion(func(c *tls.Config, v uint16) { c.MinVersion = v }),
		"ssl_max_protocol_version": protocolVersion(func(c *tls.Config, v uint16) { c.MaxVersion = v }),

		// dialer takes these.
		"keepalives": accept, "keepalives_idle": accept, "keepalives_interval": accept, "keepalives_count": accept,

		// To ignore these would be less safe than was asked for.
		"gssencmode":       unless("prefer", "disable"),
		"requiressl":       unless("0"),
		"requirepeer":      unless(),
		"sslcrl":           unless(),
		"sslcrldir":        unless(),
		"scram_client_key": unless(),
		"scram_server_key": unless(),
		"oauth_issuer":     unless(),
		"oauth_client_id":  unless(),

		"client_encoding":    nil, // it is always UTF8
		"load_balance_hosts": nil, // they are tried in their order: how far one has replayed says nothing about another
		"gssdelegation":      nil, "gsslib": nil, "oauth_client_secret": nil, "oauth_scope": nil, "replication": nil,
		"sslcompression": nil, "sslkeylogfile": nil, "tcp_user_timeout": nil,
	}
}

func accept(*pgconn.Config, string) error { return nil }

func setting(name string) taker {
	return func(config *pgconn.Config, value string) error {
		config.RuntimeParams[name] = value
		return nil
	}
}

// unless refuses a keyword whose value is not one of those that mean nothing.
func unless(harmless ...string) taker {
	return func(_ *pgconn.Config, value string) error {
		if value == "" || slices.Contains(harmless, value) {
			return nil
		}
		return fmt.Errorf("not supported with this value, and not ignored (%s)", strings.Join(append(harmless, "leave it out"), ", or "))
	}
}

// hostAddress connects to addresses instead of looking hosts up, whose names
// certificates are still checked against.
func hostAddress(config *pgconn.Config, value string) error {
	hosts := []string{config.Host}
	for _, fallback := range config.Fallbacks {
		if !slices.Contains(hosts, fallback.Host) {
			hosts = append(hosts, fallback.Host)
		}
	}
	addresses := strings.Split(value, ",")
	if len(addresses) != len(hosts) || strings.HasPrefix(config.Host, "/") {
		return fmt.Errorf("it needs one host for each address: %d addresses", len(addresses))
	}
	look := config.LookupFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		if i := slices.Index(hosts, host); i >= 0 && addresses[i] != "" {
			return addresses[i : i+1], nil
		}
		return look(ctx, host)
	}
	return nil
}

func protocolVersion(set func(*tls.Config, uint16)) taker {
	versions := map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	return func(config *pgconn.Config, value string) error {
		version, ok := versions[value]
		if !ok && value != "" {
			return fmt.Errorf("one of %s", strings.Join(slices.Sorted(maps.Keys(versions)), ", "))
		}
		configs := []*tls.Config{config.TLSConfig}
		for _, fallback := range config.Fallbacks {
			configs = append(configs, fallback.TLSConfig)
		}
		for _, c := range configs {
			if c != nil {
				set(c, version)
			}
		}
		return nil
	}
}

// dialer finds out within two minutes that a server went without a word, unless
// keepalives say otherwise. A number of 0 is the system's default, as in libpq.
func dialer(values map[string]string) (pgconn.DialFunc, error) {
	numbers := map[string]int{"keepalives": 1, "keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
	for name := range numbers {
		if values[name] == "" {
			continue
		}
		number, err := strconv.Atoi(values[name])
		if err != nil || number < 0 {
			return nil, hint.Add(fmt.Errorf("parse connection string: %s is not a number", name), "give it in seconds; keepalives is 0 or 1, keepalives_count how many")
		}
		numbers[name] = number
	}
	second := func(name string) time.Duration {
		if numbers[name] == 0 {
			return -1 // of net.KeepAliveConfig: leave the system's
		}
		return time.Duration(numbers[name]) * time.Second
	}
	count := numbers["keepalives_count"]
	if count == 0 {
		count = -1
	}
	dialer := &net.Dialer{KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{
		Enable: numbers["keepalives"] != 0, Idle: second("keepalives_idle"), Interval: second("keepalives_interval"), Count: count,
	}}
	return dialer.DialContext, nil
}
