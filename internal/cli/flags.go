package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// sourceFlags say where the nodes come from.
type sourceFlags struct {
	Source string `help:"PostgreSQL URL or DSN. What it leaves out comes from libpq's PG* variables, service and password files." env:"NODESTORE_SOURCE" placeholder:"URL" group:"Source"`
	Table  string `help:"Table, partitioned table or view that holds the nodes." env:"NODESTORE_TABLE" default:"nodestore_node" placeholder:"NAME" group:"Source"`
	Region string `help:"Name of the Sentry region (cell) that the table belongs to. Needed where the database does not show it." env:"NODESTORE_REGION" placeholder:"NAME" group:"Source"`
}

func (f *sourceFlags) config(p *process, connections int) source.Config {
	warn := func(text string) { _, _ = fmt.Fprintln(p.stderr, "warning: "+text) } // a closed terminal must not end a run
	return source.Config{ConnString: f.Source, Table: f.Table, Connections: connections, Warn: warn}
}

// targetFlags say where the nodes go.
type targetFlags struct {
	awsFlags `embed:""`

	Target             string `help:"OpenSearch URLs, comma separated." env:"NODESTORE_TARGET" placeholder:"URL,..." group:"Target"`
	TargetUsername     string `help:"User name. The password comes from $NODESTORE_TARGET_PASSWORD or the file." env:"NODESTORE_TARGET_USERNAME" placeholder:"NAME" group:"Target"`
	TargetPasswordFile string `help:"File that holds the password." env:"NODESTORE_TARGET_PASSWORD_FILE" placeholder:"FILE" group:"Target"`
	TargetCA           string `name:"target-ca" help:"PEM file of the certificate authority; the system's by default." env:"NODESTORE_TARGET_CA" placeholder:"FILE" group:"Target"`
	TargetFingerprint  string `help:"SHA-256 of the server's certificate, in hex; replaces the check of its chain." env:"NODESTORE_TARGET_FINGERPRINT" placeholder:"HEX" group:"Target"`
	TargetInsecure     bool   `help:"Accept any certificate." env:"NODESTORE_TARGET_INSECURE" group:"Target"`
	TargetCert         string `name:"target-cert" help:"PEM file of this client's own certificate, if the servers want one." env:"NODESTORE_TARGET_CERT" placeholder:"FILE" group:"Target"`
	TargetKey          string `name:"target-key" help:"PEM file of its key, without a passphrase." env:"NODESTORE_TARGET_KEY" placeholder:"FILE" group:"Target"`
	Alias              string `help:"Alias that Sentry reads through, as the backend's alias_name." env:"NODESTORE_ALIAS" default:"sentry" placeholder:"NAME" group:"Target"`
	Template           string `help:"Index template, as the backend's template_name." env:"NODESTORE_TEMPLATE" default:"sentry" placeholder:"NAME" group:"Target"`
	Index              string `help:"Name of a daily index with {date}, as the backend's index; by default the backend's own rule." env:"NODESTORE_INDEX" placeholder:"NAME" group:"Target"`
}

func (f *targetFlags) problems(found []string) []string {
	if f.Target == "" {
		found = append(found, "--target is missing: give the URL of OpenSearch, or set NODESTORE_TARGET")
	}
	for _, url := range f.urls() {
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			found = append(found, fmt.Sprintf("--target: %q does not begin with http:// or https://", withoutUserinfo(url)))
		}
	}
	if (f.TargetCert == "") != (f.TargetKey == "") {
		found = append(found, "--target-cert and --target-key go together")
	}
	return found
}

// withoutUserinfo keeps a password that stands before an @ out of messages.
func withoutUserinfo(url string) string {
	if _, host, ok := strings.Cut(url, "@"); ok {
		return "…@" + host
	}
	return url
}

func (f *targetFlags) urls() []string {
	return strings.FieldsFunc(f.Target, func(r rune) bool { return r == ',' || r == ' ' })
}

func (f *targetFlags) config(ctx context.Context, p *process) (target.Config, error) {
	backend, err := target.BackendFromEnv(p.getenv, target.Custom{Alias: f.Alias, Template: f.Template, Index: f.Index})
	if err != nil {
		return target.Config{}, err
	}
	c := target.Config{
		URLs: f.urls(), Username: f.TargetUsername, Password: p.getenv("NODESTORE_TARGET_PASSWORD"),
		Fingerprint: f.TargetFingerprint, Insecure: f.TargetInsecure, Backend: backend, Waiting: p.waiting,
	}
	if f.TargetPasswordFile != "" {
		content, err := os.ReadFile(f.TargetPasswordFile)
		if err != nil {
			return target.Config{}, hint.Add(fmt.Errorf("read --target-password-file: %w", err), "name a file that holds nothing but the password")
		}
		c.Password = strings.TrimRight(string(content), "\r\n")
	}
	for _, file := range []struct {
		flag, name, remedy string
		into               *[]byte
	}{
		{"--target-ca", f.TargetCA, "name a PEM file of the certificate authority", &c.CA},
		{"--target-cert", f.TargetCert, "name a PEM file of the client's certificate", &c.Certificate},
		{"--target-key", f.TargetKey, "name a PEM file of the client's key", &c.Key},
	} {
		if file.name == "" {
			continue
		}
		if *file.into, err = os.ReadFile(file.name); err != nil {
			return target.Config{}, hint.Add(fmt.Errorf("read %s: %w", file.flag, err), file.remedy)
		}
	}
	c.Signer, err = f.signer(ctx)
	return c, err
}

// lookPatience is for verbs that only look: their user wants to hear soon what
// does not answer.
const lookPatience = time.Minute

// waiting tells what is waited for where no display does.
func (p *process) waiting(cause string, pause time.Duration) {
	fmt.Fprintf(p.stderr, "waiting %s: %s\n", pause.Round(time.Millisecond), cause)
}

// outputFlags say what is printed while it runs.
type outputFlags struct {
	JSON  bool `name:"json" help:"Print events and the summary as JSON lines on standard output." group:"Output"`
	Quiet bool `help:"Print errors and the summary only." group:"Output"`

	LogLevel slog.Level `help:"What a log gets, where there is no terminal or in --log-file: debug, info, warn or error. It is JSON, a line each." env:"NODESTORE_LOG_LEVEL" default:"info" placeholder:"LEVEL" group:"Output"`
	LogFile  string     `help:"Also keep the log, as JSON, at the end of this file, beside the bar." env:"NODESTORE_LOG_FILE" placeholder:"FILE" group:"Output"`
}

// The types of flags below keep what is wrong with their value, so that all
// wrong flags are named at once.

// dayValue is a UTC day.
type dayValue struct {
	node.Day
	problem error
}

// UnmarshalText reads YYYY-MM-DD.
func (d *dayValue) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // a variable that is set to nothing
	}
	d.Day, d.problem = node.ParseDay(string(text))
	return nil
}

// countValue is a number of workers, 0 for the default.
type countValue struct {
	n       int
	problem error
}

// maxWorkers is far beyond what any cluster gains from; it catches typing errors.
const maxWorkers = 256

// UnmarshalText reads a whole number from 1 to maxWorkers.
func (c *countValue) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // a variable that is set to nothing
	}
	var err error
	if c.n, err = strconv.Atoi(string(text)); err != nil || c.n < 1 || c.n > maxWorkers {
		c.problem = fmt.Errorf("%q is no whole number from 1 to %d", text, maxWorkers)
	}
	return nil
}

// retentionDays is a number of days: 0 if it was not given, or migrate.KeepAll.
type retentionDays struct {
	n       int
	problem error
}

// maxRetention is a hundred years.
const maxRetention = 36500

// UnmarshalText reads a whole number of days.
func (r *retentionDays) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // a variable that is set to nothing
	}
	var err error
	if r.n, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil || r.n < 0 || r.n > maxRetention {
		r.problem = fmt.Errorf("%q is not a whole number of days from 0 (keep all) to %d", text, maxRetention)
	}
	if r.n == 0 {
		r.n = migrate.KeepAll
	}
	return nil
}

// rejectedLimit is a share of a day, or a number of nodes.
type rejectedLimit struct {
	migrate.Budget
	problem error
}

// UnmarshalText reads a share such as 5% or a whole number.
func (l *rejectedLimit) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // a variable that is set to nothing
	}
	if percent, ok := strings.CutSuffix(string(text), "%"); ok {
		share, err := strconv.ParseFloat(percent, 64)
		if l.Share = share / 100; err != nil || !(share > 0 && share <= 100) {
			l.problem = fmt.Errorf("%q is not a share above 0%% and up to 100%%", text)
		}
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if l.Nodes = &n; err != nil || n < 0 {
		l.problem = fmt.Errorf("%q is neither a share such as 5%% nor a number of nodes", text)
	}
	return nil
}

// timeValue is a moment, in µs since 1970; 0 if it was not given.
type timeValue struct {
	micros  int64
	problem error
}

// UnmarshalText reads RFC 3339, which names its time zone.
func (v *timeValue) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // a variable that is set to nothing
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		v.problem = fmt.Errorf("%q is no time such as 2025-09-01T14:30:00Z", text)
		//lint:ignore nilerr the problem is told when the flag is used
		return nil
	}
	v.micros = at.UnixMicro()
	return nil
}

// sizeValue is a number of bytes.
type sizeValue struct {
	bytes   int
	problem error
}

const (
	minBulkBytes = 64 << 10
	maxBulkBytes = 90 << 20 // below http.max_content_length's default of 100 MiB
)

// UnmarshalText reads bytes, with KiB, MiB, kB or MB behind the number if need be.
func (s *sizeValue) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // a variable that is set to nothing
	}
	units := []struct {
		suffix string
		bytes  int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"kB", 1e3}, {"MB", 1e6}, {"", 1}}
	for _, unit := range units {
		digits, ok := strings.CutSuffix(string(text), unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(digits))
		if s.bytes = n * unit.bytes; err != nil || s.bytes < minBulkBytes || s.bytes > maxBulkBytes {
			s.problem = fmt.Errorf("%q is no size from 64KiB to 90MiB", text)
		}
		return nil
	}
	return errors.New("unreachable: the empty suffix always fits")
}

// named adds a flag's problem, if it has one.
func named(found []string, flag string, problem error) []string {
	if problem == nil {
		return found
	}
	return append(found, fmt.Sprintf("--%s: %s", flag, problem))
}

// DefaultReaders is the number of connections that read if --readers is not
// given: a reader is faster than several senders.
func DefaultReaders() int { return min(max(runtime.NumCPU()/2, 2), 4) }

// DefaultSenders is the number of bulk requests under way if --senders is not
// given. Loading is bound by the cluster: a few requests keep it busy.
func DefaultSenders() int { return min(max(2*runtime.NumCPU(), 4), 8) }
