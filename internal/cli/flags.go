package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/opensearch-project/opensearch-go/v4/signer"
	"github.com/opensearch-project/opensearch-go/v4/signer/awsv2"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// sidesFlags say between which two sides.
type sidesFlags struct {
	sourceFlags `embed:""`
	targetFlags `embed:""`
}

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
	if _, ok := errors.AsType[*cluster.MistakeError](err); ok {
		err = fmt.Errorf("--%w", err) // it is about the index
	}
	if err != nil {
		return target.Config{}, err
	}
	c := target.Config{
		Config: cluster.Config{
			URLs: f.urls(), Username: f.TargetUsername, Password: p.getenv("NODESTORE_TARGET_PASSWORD"),
			Fingerprint: f.TargetFingerprint, Insecure: f.TargetInsecure, Waiting: p.waiting,
		},
		Backend: backend,
	}
	var password []byte
	for _, file := range []struct {
		flag, name, remedy string
		into               *[]byte
	}{
		{"--target-password-file", f.TargetPasswordFile, "name a file that holds nothing but the password", &password},
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
	if f.TargetPasswordFile != "" {
		c.Password = strings.TrimRight(string(password), "\r\n")
	}
	c.Signer, err = f.signer(ctx)
	return c, err
}

// awsFlags sign requests for a cluster of Amazon's.
type awsFlags struct {
	TargetAWSRegion  string `name:"target-aws-region" help:"Sign requests with AWS Signature Version 4 for this region; credentials come from where AWS's own tools find them." env:"NODESTORE_TARGET_AWS_REGION" placeholder:"REGION" group:"Target"`
	TargetAWSService string `name:"target-aws-service" help:"Service that requests are signed for." env:"NODESTORE_TARGET_AWS_SERVICE" default:"es" placeholder:"NAME" group:"Target"`
}

// signer returns what signs requests, or nil if they are not to be signed.
func (f *awsFlags) signer(ctx context.Context) (signer.Signer, error) {
	if f.TargetAWSRegion == "" {
		return nil, nil
	}
	if f.TargetAWSService == "aoss" {
		return nil, cluster.ErrServerless
	}
	found, err := config.LoadDefaultConfig(ctx, config.WithRegion(f.TargetAWSRegion))
	if err != nil {
		return nil, fmt.Errorf("read AWS configuration: %w", err)
	}
	if _, err := found.Credentials.Retrieve(ctx); err != nil {
		return nil, hint.Add(fmt.Errorf("find AWS credentials: %w", err),
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is attached")
	}
	return awsv2.NewSignerWithService(found, f.TargetAWSService)
}

// daysFlags say which days.
type daysFlags struct {
	Since dayValue `help:"First UTC day." env:"NODESTORE_SINCE" placeholder:"YYYY-MM-DD"`
	Until dayValue `help:"First UTC day that is left out." env:"NODESTORE_UNTIL" placeholder:"YYYY-MM-DD"`
}

func (f *daysFlags) problems(found []string) []string {
	if f.Since.problem == nil && f.Until.problem == nil && f.Until.Day != 0 && f.Since.Day >= f.Until.Day {
		found = append(found, fmt.Sprintf("--until %s is not after --since %s: there is no day between them", f.Until.Day, f.Since.Day))
	}
	return found
}

// retentionFlag and sendersFlag are what plan asks for what migrate does.
type retentionFlag struct {
	Retention retentionDays `help:"Days that Sentry keeps; older ones are counted, not copied. $SENTRY_EVENT_RETENTION_DAYS by default, else as it was last given; 0 keeps everything." env:"NODESTORE_RETENTION,SENTRY_EVENT_RETENTION_DAYS" placeholder:"DAYS"`
}

type sendersFlag struct {
	Senders countValue `help:"Bulk requests under way at the same time." env:"NODESTORE_SENDERS" placeholder:"N"`
}

func (f *sendersFlag) senders() int { return cmp.Or(f.Senders.n, DefaultSenders()) }

// objectFlag is of the verbs that print once.
type objectFlag struct {
	JSON bool `name:"json" help:"Print one JSON object, with every day, as docs/json.md describes." group:"Output"`
}

// shardFlags divide a migration among several processes.
type shardFlags struct {
	Shard  shardValue    `help:"Copy the part I of N, from 0, of a migration that N processes share; wants --checkpoint opensearch:NAME. The last one finishes it." env:"NODESTORE_SHARD" placeholder:"I/N"`
	Shards int           `help:"In a Kubernetes Indexed Job: number of its pods (completions); $$JOB_COMPLETION_INDEX says which one this is." env:"NODESTORE_SHARDS" placeholder:"N"`
	Job    string        `name:"job-completion-index" hidden:"" env:"JOB_COMPLETION_INDEX"`
	Lease  time.Duration `help:"With --checkpoint opensearch:NAME: how long its holder may be silent before another process takes over; ${default} by default." env:"NODESTORE_LEASE" default:"15s" placeholder:"DURATION"`
}

// minLease is what a heart needs to beat in time.
const minLease = 100 * time.Millisecond

func (f *shardFlags) problems(found []string) []string {
	if f.Shards < 0 || f.Shards > maxShards {
		found = append(found, fmt.Sprintf("--shards: %d is not a whole number from 1 to %d", f.Shards, maxShards))
	}
	if f.Lease < minLease {
		found = append(found, fmt.Sprintf("--lease: %s is less than %s", f.Lease, minLease))
	}
	if f.Shard.of != 0 {
		if f.Shards != 0 && f.Shards != f.Shard.of {
			found = append(found, fmt.Sprintf("--shard has %d parts, and --shards %d", f.Shard.of, f.Shards))
		}
		return found
	}
	index, err := strconv.Atoi(f.Job)
	switch {
	case f.Job == "" && f.Shards > 1:
		found = append(found, "--shards: $JOB_COMPLETION_INDEX does not say which shard this is: give --shard I/N instead")
	case f.Job != "" && f.Shards == 0:
		found = append(found, "$JOB_COMPLETION_INDEX is set, so this is one of several pods: give their number with --shards")
	case f.Job != "" && (err != nil || index < 0 || index >= f.Shards):
		found = append(found, fmt.Sprintf("$JOB_COMPLETION_INDEX: %q is not a shard of %d", f.Job, f.Shards))
	}
	return found
}

// shard is this process's part; 0 of 1 if it is on its own.
func (f *shardFlags) shard() (number, of int) {
	switch {
	case f.Shard.of > 0:
		return f.Shard.number, f.Shard.of
	case f.Shards > 1:
		number, _ = strconv.Atoi(f.Job) // problems has looked at it
		return number, f.Shards
	}
	return 0, 1
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
	JSON  bool `name:"json" help:"Print events and the summary as JSON lines on standard output, as docs/json.md describes." group:"Output"`
	Quiet bool `help:"Print errors and the summary only." group:"Output"`

	NoProgress bool `help:"Tell of events only: no bar, and no lines that say how far it is." env:"NODESTORE_NO_PROGRESS" group:"Output"`

	LogLevel slog.Level `help:"What a log gets, where there is no terminal or in --log-file: debug, info, warn or error. It is JSON, a line each." env:"NODESTORE_LOG_LEVEL" default:"info" placeholder:"LEVEL" group:"Output"`
	LogFile  string     `help:"Also keep the log, as JSON, at the end of this file, beside the bar." env:"NODESTORE_LOG_FILE" placeholder:"FILE" group:"Output"`
}

// DefaultReaders is the number of connections that read if --readers is not
// given: a reader is faster than several senders.
func DefaultReaders() int { return min(max(runtime.NumCPU()/2, 2), 4) }

// DefaultSenders is the number of bulk requests under way if --senders is not
// given. Loading is bound by the cluster: a few requests keep it busy.
func DefaultSenders() int { return min(max(2*runtime.NumCPU(), 4), 8) }
